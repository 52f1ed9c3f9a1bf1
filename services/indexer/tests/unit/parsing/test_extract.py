import io
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path

import docx
import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas
from services.indexer.tests.growth import grows_with_length

from quarry_indexer.parsing.document import ParsedDocument
from quarry_indexer.parsing.errors import (
    CorruptDocumentError,
    DocumentTooLargeError,
    EncryptedDocumentError,
    NoTextError,
    ParseError,
)
from quarry_indexer.parsing.extract import extract, titled_document
from quarry_indexer.parsing.pdf import assemble_pages

Read = Callable[[bytes, str], ParsedDocument]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def from_bytes(data: bytes, name: str) -> ParsedDocument:
        path = tmp_path / "upload"
        path.write_bytes(data)
        return extract(path, name)

    return from_bytes


def pdf(*pages: str, password: str | None = None) -> bytes:
    target = io.BytesIO()
    canvas = Canvas(target, encrypt=StandardEncryption(password) if password else None)
    canvas.setAuthor("Ada")
    for page in pages:
        for number, line in enumerate(page.split("\n")):
            canvas.drawString(72, 720 - 16 * number, line)
        canvas.showPage()
    canvas.save()
    return target.getvalue()


def test_each_page_of_a_pdf_is_found_at_its_offsets(read: Read) -> None:
    parsed = read(pdf("First page speaks.", "Second page speaks.", "Third über alles."), "a.pdf")

    assert [page.number for page in parsed.pages] == [1, 2, 3]
    assert [parsed.text[page.char_start : page.char_end] for page in parsed.pages] == [
        "First page speaks.",
        "Second page speaks.",
        "Third über alles.",
    ]
    assert parsed.metadata["authors"] == "Ada"


def test_a_bullet_of_a_pdf_is_no_heading() -> None:
    text, _ = assemble_pages(
        ["Risks\n• the publication of research\nmore"], "# Risks\n\n# the publication of research"
    )

    assert text == "# Risks\n\n• the publication of research\nmore"


def test_a_page_without_text_keeps_its_number_free(read: Read) -> None:
    parsed = read(pdf("One.", "", "Three."), "a.pdf")

    assert [page.number for page in parsed.pages] == [1, 3]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (pdf("secret", password="pw"), EncryptedDocumentError),
        (pdf("whole")[:300], CorruptDocumentError),
        (b"%PDF-1.7\n", CorruptDocumentError),
        (pdf(""), NoTextError),
    ],
    ids=["encrypted", "truncated", "bare mark", "blank"],
)
def test_a_pdf_that_cannot_be_read_says_why(read: Read, data: bytes, error: type[ParseError]) -> None:
    with pytest.raises(error):
        read(data, "a.pdf")


def test_a_reader_that_gives_up_means_a_damaged_file(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object) -> None:
        raise RuntimeError("task 15 panicked")

    monkeypatch.setattr("kreuzberg.extract_file_sync", give_up)

    with pytest.raises(CorruptDocumentError, match="panicked"):
        read(pdf("whole"), "a.pdf")


def test_a_word_file_gives_headings_and_tables(read: Read) -> None:
    document = docx.Document()
    document.core_properties.title = "Annual report"
    document.add_heading("Results", level=1)
    document.add_paragraph("Revenue rose by 5 % (see note 1).")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip([*table.rows[0].cells, *table.rows[1].cells], "ABCD", strict=True):
        cell.text = text
    target = io.BytesIO()
    document.save(target)

    parsed = read(target.getvalue(), "a.docx")

    assert parsed.title == "Annual report"
    assert "# Results\n\nRevenue rose by 5 % (see note 1)." in parsed.text
    assert "| A | B |" in parsed.text


def test_paragraphs_styled_as_headings_are_paragraphs(read: Read) -> None:
    document = docx.Document()
    for text in ("1. Layers", "There are three:", "- One", "- Two", "- Three", "2. Flow", "Down."):
        document.add_heading(text, level=6)
    target = io.BytesIO()
    document.save(target)

    lines = read(target.getvalue(), "a.docx").text.split("\n\n")

    assert [line for line in lines if line.startswith("#")] == ["###### 1. Layers", "###### 2. Flow"]
    assert "There are three:" in lines


def test_a_word_file_with_broken_parts_is_corrupt(read: Read) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types")
        archive.writestr("word/document.xml", "<w:document")

    with pytest.raises((CorruptDocumentError, NoTextError)):
        read(target.getvalue(), "a.docx")


def test_html_gives_markdown_title_and_language(read: Read) -> None:
    page = (
        '<!doctype html><html lang="ja"><head><meta charset="shift_jis"><title>A &amp; B</title></head>'
        "<body><h1>見出し</h1><p>snake_case and 1. *stars*</p>"
        "<img src='data:image/png;base64,AAAA'></body></html>"
    )

    parsed = read(page.encode("shift_jis"), "a.html")

    assert (parsed.title, parsed.language) == ("A & B", "ja")
    assert parsed.text == "# 見出し\n\nsnake_case and 1. *stars*"


def test_html_nested_beyond_reason_still_gives_its_text(read: Read) -> None:
    page = "<html><body>" + "<div>" * 20_000 + "deep down" + "</div>" * 20_000

    assert read(page.encode(), "a.html").text == "deep down"


@pytest.mark.parametrize("markup", ["<!--", "<a ", "<head>", "<title>", "<meta ", "<", "<![CDATA["])
def test_markup_that_is_never_closed_costs_no_more_than_its_length(read: Read, markup: str) -> None:
    def read_page(repeats: int) -> None:
        with suppress(NoTextError):
            read(b"<html><body>" + markup.encode() * repeats, "a.html")

    assert grows_with_length(read_page, 5_000)


def test_bare_text_leaves_out_scripts_and_comments(read: Read) -> None:
    page = "<html><body>" + "<div>" * 20_000 + "a &lt; b<script>var x = '<p>';</script><!-- no --> < c"

    assert read(page.encode(), "a.html").text == "a < b < c"


def test_no_text_in_an_archive_that_lies_about_its_parts_is_damage(read: Read) -> None:
    target = io.BytesIO()
    docx.Document().save(target)
    honest = target.getvalue()
    lying = bytearray(honest)
    for mark, size_at, name_at in ((b"PK\3\4", 22, 30), (b"PK\1\2", 24, 46)):
        at = next(
            found.start()
            for found in re.finditer(re.escape(mark), honest)
            if honest[found.start() + name_at :].startswith(b"word/document.xml")
        )
        lying[at + size_at : at + size_at + 4] = (100).to_bytes(4, "little")

    with pytest.raises(NoTextError):
        read(honest, "a.docx")
    with pytest.raises(CorruptDocumentError, match=r"word/document\.xml"):
        read(bytes(lying), "a.docx")


def test_a_mail_gives_subject_body_and_attachment_names(read: Read) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ada@example.org", "alan@example.org", "Grüße aus 東京"
    mail.set_content("これは日本語です。", charset="iso-2022-jp")
    mail.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="plan.pdf")

    parsed = read(bytes(mail), "a.eml")

    assert parsed.title == "Grüße aus 東京"
    assert "これは日本語です。" in parsed.text
    assert "Attachments: plan.pdf" in parsed.text
    assert parsed.metadata["from"] == "ada@example.org"


def test_a_mail_with_only_html_is_read_too(read: Read) -> None:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "ada@example.org", "Hello"
    mail.set_content("<p>Only <b>bold</b> words</p>", subtype="html")

    assert "Only **bold** words" in read(bytes(mail), "a.eml").text


def test_json_on_one_line_gets_lines(read: Read) -> None:
    parsed = read(b'{"items": [' + b'{"name": "caf\xc3\xa9"}, ' * 100 + b"1]}", "a.json")

    assert parsed.text.count('"name": "café"\n') == 100


def test_json_nested_beyond_reason_stays_as_it_is(read: Read) -> None:
    data = b"[" * 100_000 + b"]" * 100_000

    parsed = read(data, "a.json")

    assert (parsed.doc_type, parsed.text) == ("json", data.decode())


@pytest.mark.parametrize(
    ("text", "name", "title"),
    [
        ("---\ntitle: From the front\n---\n# Other\n", "a.md", "From the front"),
        ("# Heading\n\nBody\n", "a.md", "Heading"),
        ("Heading\n=======\n\nBody\n", "a.rst", "Heading"),
        ("#+title: Heading\n* One\n", "a.org", "Heading"),
        ("# not a title\n", "a.py", None),
    ],
)
def test_text_formats_keep_their_text_and_tell_their_title(
    read: Read, text: str, name: str, title: str | None
) -> None:
    parsed = read(text.encode(), name)

    assert (parsed.text, parsed.title) == (text, title)


def test_text_above_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(b"word " * 1000)

    with pytest.raises(DocumentTooLargeError, match=r"0\.0 MB"):
        extract(path, "a.txt", max_text_bytes=4999)


def test_a_title_alone_is_a_document_whose_text_is_the_title() -> None:
    parsed = titled_document("  Minutes of\nMay ")

    assert (parsed.text, parsed.title) == ("Minutes of May", "Minutes of May")
