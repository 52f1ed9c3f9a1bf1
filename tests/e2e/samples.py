"""One small file of each kind, generated here, each with a sentence that stands in no other."""

import io
import textwrap
import zipfile
from dataclasses import dataclass
from email.message import EmailMessage

import docx
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas


def filler(topic: str) -> str:
    """Return enough about `topic` to fill a passage: small parts of a document share one."""
    return " ".join(
        f"Remark {n} on {topic} was noted by the clerk and filed without comment." for n in range(14)
    )


@dataclass(frozen=True)
class Sample:
    """A file and where its sentence stands in it."""

    file_name: str
    body: bytes
    sentence: str
    page: int | None = None
    heading: str = ""


def pdf() -> Sample:
    pages = [
        "The harbour office opens at seven and closes when the last ferry has left.",
        "Cargo manifests are countersigned by the quartermaster before noon.",
        "Pilots who arrive by night report to the lighthouse and wait for the tide.",
    ]
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4)
    canvas.setTitle("Harbour rules")
    for text in pages:
        lines = [text, *textwrap.wrap(filler("ships"), 80)]
        for number, line in enumerate(lines):
            canvas.drawString(72, 760 - 16 * number, line)
        canvas.showPage()
    canvas.save()
    return Sample("harbour.pdf", out.getvalue(), pages[1], page=2)


def docx_file() -> Sample:
    sentence = "Either party may terminate the lease with six months' written notice."
    document = docx.Document()
    document.add_heading("Lease of the office", level=0)
    document.add_heading("Rent", level=1)
    document.add_paragraph("The monthly rent is due on the third working day. " + filler("rent"))
    document.add_heading("Termination", level=1)
    document.add_paragraph(f"{sentence} {filler('leases')}")
    out = io.BytesIO()
    document.save(out)
    return Sample("lease.docx", out.getvalue(), sentence, heading="Termination")


def epub() -> Sample:
    sentence = "The gardener counted nineteen herons beside the frozen pond."
    chapters = {
        "one": ("The orchard", "Apples were stored in straw until the spring."),
        "two": ("The pond", sentence),
    }
    manifest = "".join(
        f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"/>' for name in chapters
    )
    spine = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    package = (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
        'unique-identifier="id"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        '<dc:identifier id="id">urn:quarry:garden</dc:identifier><dc:title>A winter garden</dc:title>'
        f"<dc:language>en</dc:language></metadata><manifest>{manifest}</manifest>"
        f"<spine>{spine}</spine></package>"
    )
    container = (
        '<?xml version="1.0"?><container version="1.0" '
        'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile '
        'full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr(zipfile.ZipInfo("mimetype"), "application/epub+zip")
        book.writestr("META-INF/container.xml", container)
        book.writestr("book.opf", package)
        for name, (title, text) in chapters.items():
            book.writestr(
                f"{name}.xhtml",
                f'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>{title}'
                f"</title></head><body><h1>{title}</h1><p>{text} {filler('plants')}</p></body></html>",
            )
    return Sample("garden.epub", out.getvalue(), sentence, heading="The pond")


def email() -> Sample:
    sentence = "Please return the borrowed oscilloscope to bench fourteen by Friday."
    message = EmailMessage()
    message["Subject"] = "Laboratory equipment"
    message["From"] = "ada@example.org"
    message["To"] = "grace@example.org"
    message["Date"] = "Mon, 02 Mar 2026 09:30:00 +0000"
    message.set_content(f"Dear Grace,\n\n{sentence}\n\nAda\n")
    return Sample("equipment.eml", message.as_bytes(), sentence)


def html() -> Sample:
    sentence = "Beekeepers inspect the brood frames every ninth day in May."
    body = (
        "<html><head><title>Beekeeping</title></head><body><h1>The year</h1><h2>Winter</h2>"
        f"<p>Hives are left alone while it freezes. {filler('frost')}</p><h2>Spring</h2>"
        f"<p>{sentence} {filler('bees')}</p><script>var hidden = 'never shown';</script></body></html>"
    )
    return Sample("bees.html", body.encode(), sentence, heading="Spring")


def csv_table() -> Sample:
    rows = ["part,supplier,lead time", "gasket,Moreau et Fils,12 days", "flywheel,Østergaard Works,45 days"]
    return Sample("parts.csv", "\n".join(rows).encode(), "flywheel Østergaard Works")


def japanese() -> Sample:
    sentence = "図書館の閲覧室は毎週水曜日に休館します。"
    text = f"利用案内\n\n本を借りるには会員証が必要です。\n\n{sentence}\n\n返却期限は二週間後です。\n"
    return Sample("library.txt", text.encode("shift_jis"), sentence)


def markdown() -> Sample:
    sentence = "The flux capacitor must be discharged through a bleed resistor."
    text = (
        f"# Workshop manual\n\n## Safety\n\n{sentence} {filler('safety')}\n\n"
        f"## Tools\n\nUse the blue spanner. {filler('tools')}\n"
    )
    return Sample("manual.md", text.encode(), sentence, heading="Safety")


def source_code() -> Sample:
    text = (
        "import math\n\n\ndef haversine_distance(first, second):\n"
        '    """Return the great circle distance."""\n    return math.acos(first * second)\n'
    )
    return Sample("geodesy.py", text.encode(), "def haversine_distance(first, second)")


SAMPLES = {
    "pdf": pdf(),
    "docx": docx_file(),
    "epub": epub(),
    "eml": email(),
    "html": html(),
    "csv": csv_table(),
    "japanese": japanese(),
    "markdown": markdown(),
    "python": source_code(),
}
