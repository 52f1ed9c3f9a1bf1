"""Files made to harm whoever reads them, and files that are only large: how each is made and what is right.

`scale` is 1.0 for the full size. What is small in itself, as bombs are, is the same at every scale.
"""

import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from reportlab.pdfgen.canvas import Canvas

MEGABYTE = 1024 * 1024
READ = "read"
"""The outcome of a file that gives text; any other is the code of an error."""

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_TEXT = "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
_OFFICE = "urn:oasis:names:tc:opendocument:xmlns:office:1.0"
_LAUGHS = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))


class Poison(msgspec.Struct, frozen=True):
    """A file and what should become of it."""

    name: str
    file_name: str
    write: Callable[[Path, float], None]
    outcomes: tuple[str, ...] = (READ,)
    short_scale: float = 0.02


def _repeat(path: Path, unit: bytes, size_bytes: float, *, before: bytes = b"", after: bytes = b"") -> None:
    """Write `unit` again and again without ever holding the file."""
    block = unit * max(1, MEGABYTE // len(unit))
    with path.open("wb") as file:
        file.write(before)
        left = int(size_bytes) - len(before) - len(after)
        while left >= len(unit):
            file.write(block[: left - left % len(unit)])
            left -= min(len(block), left - left % len(unit))
        file.write(after)


def _prose() -> bytes:
    """A megabyte of words, sentences and paragraphs that a tokenizer has to work for."""
    source = random.Random(7)
    letters = "aaabcdeeeefghiiijklmnnooprrsssttuvw"
    vocabulary = ["".join(source.choices(letters, k=source.randint(2, 9))) for _ in range(20_000)]
    parts: list[str] = []
    size = 0
    while size < MEGABYTE:
        parts.append(" ".join(source.choices(vocabulary, k=11)) + source.choice([",\n", ".\n", ".\n\n"]))
        size += len(parts[-1])
    return "".join(parts).encode()[:MEGABYTE]


def _text(size_mb: float, encoding: str = "utf-8", last: str = "") -> Callable[[Path, float], None]:
    def write(path: Path, scale: float) -> None:
        unit = _prose().decode().encode(encoding).removeprefix(b"\xff\xfe")
        mark = b"\xff\xfe" if encoding == "utf-16" else b""
        _repeat(path, unit, max(size_mb * scale, 1) * MEGABYTE + 4, before=mark, after=last.encode(encoding))

    return write


def _units(unit: str, count: int, before: str = "", after: str = "") -> Callable[[Path, float], None]:
    def write(path: Path, scale: float) -> None:
        size = len(unit.encode()) * max(1, int(count * scale)) + len((before + after).encode())
        _repeat(path, unit.encode(), size, before=before.encode(), after=after.encode())

    return write


def _pairs(opening: str, inner: str, closing: str, count: int) -> Callable[[Path, float], None]:
    def write(path: Path, scale: float) -> None:
        depth = int(count * scale)
        path.write_text(opening * depth + inner + closing * depth)

    return write


def _json_line(path: Path, scale: float) -> None:
    with path.open("w") as file:
        file.write("[")
        for number in range(int(750_000 * scale)):
            file.write(json.dumps({"name": f"item {number}", "value": number, "note": "a few words"}) + ", ")
        file.write("1]")


def _pdf(path: Path, scale: float) -> None:
    words = _prose().decode().split()
    canvas = Canvas(str(path))
    for number in range(1, int(2_000 * scale) + 1):
        canvas.drawString(72, 780, f"This is page {number}.")
        for line in range(45):
            at = (number * 45 + line) * 11 % (len(words) - 11)
            canvas.drawString(72, 750 - 15 * line, " ".join(words[at : at + 11]))
        canvas.showPage()
    canvas.save()


def zipped(path: Path, parts: Iterator[tuple[str, bytes]] | list[tuple[str, bytes]]) -> None:
    """Write a zip archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts:
            archive.writestr(name, content)


def docx(body: str, doctype: str = "", *more: tuple[str, bytes]) -> Callable[[Path, float], None]:
    """Return how to write a Word file around `body`."""

    def write(path: Path, _scale: float = 1.0) -> None:
        main = f'{doctype}<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>'
        zipped(path, [("word/document.xml", main.encode()), *more])

    return write


def odt(body: str, doctype: str = "") -> Callable[[Path, float], None]:
    """Return how to write an OpenDocument text around `body`."""

    def write(path: Path, _scale: float = 1.0) -> None:
        main = (
            f'<?xml version="1.0"?>{doctype}<office:document-content xmlns:office="{_OFFICE}" '
            f'xmlns:text="{_TEXT}"><office:body><office:text>{body}</office:text></office:body>'
            "</office:document-content>"
        )
        kind = b"application/vnd.oasis.opendocument.text"
        zipped(path, [("mimetype", kind), ("content.xml", main.encode())])

    return write


def _lying(path: Path, _scale: float) -> None:
    """A part of 50 MB that the archive says has 100 bytes, with the checksum of those."""
    docx("<w:p>" + " " * 50_000_000 + "</w:p>")(path, 1.0)
    data = bytearray(path.read_bytes())
    claimed = zlib.crc32(f'<w:document xmlns:w="{_WORD}"><w:body><w:p>{" " * 100}'.encode()[:100])
    for mark, crc_at, size_at in ((b"PK\3\4", 14, 22), (b"PK\1\2", 16, 24)):
        at = data.index(mark)
        data[at + crc_at : at + crc_at + 4] = claimed.to_bytes(4, "little")
        data[at + size_at : at + size_at + 4] = (100).to_bytes(4, "little")
    path.write_bytes(data)


def _workbook_of_bombs(path: Path, _scale: float) -> None:
    sheet = (b"<row><c><v>1</v></c></row>" * 1_200_000)[: 31 * MEGABYTE]
    zipped(path, [("xl/workbook.xml", b"<workbook/>"), *((f"xl/s{n}.xml", sheet) for n in range(18))])


def _many_parts(path: Path, _scale: float) -> None:
    zipped(path, [("word/document.xml", b"<x/>"), *((f"word/p{n}.xml", b"") for n in range(25_000))])


def _nested_bomb(path: Path, _scale: float) -> None:
    """A bomb in an archive in an archive: what is not opened does no harm."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(100 * MEGABYTE))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(100):
            archive.writestr(f"{number}.zip", inner.getvalue())
    body = "<w:p><w:r><w:t>Harmless words.</w:t></w:r></w:p>"
    docx(body, "", ("word/embeddings/a.zip", outer.getvalue()))(path, 1.0)


def _blanks(path: Path, _scale: float) -> None:
    docx("<w:p>" + " " * 90_000_000 + "</w:p>")(path, 1.0)


def epub(unit: bytes, count: int, *, repeats: int = 1) -> Callable[[Path, float], None]:
    """Return how to write a book whose one chapter, `count` times `unit`, is read `repeats` times."""

    def write(path: Path, scale: float = 1.0) -> None:
        spine = '<itemref idref="a"/>' * max(1, int(repeats * scale))
        package = (
            '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata/><manifest>'
            '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
            f"<spine>{spine}</spine></package>"
        )
        container = (
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
            '<rootfile full-path="c.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
        )
        zipped(
            path,
            [
                ("mimetype", b"application/epub+zip"),
                ("META-INF/container.xml", container.encode()),
                ("c.opf", package.encode()),
                ("a.xhtml", b"<html><body>" + unit * count + b"</body></html>"),
            ],
        )

    return write


_TOO_LARGE, _CORRUPT = ("document_too_large",), ("corrupt_document",)
_PAGE = "<p>A few words of <b>text</b> in a paragraph.</p>\n"
_PARTS = "--b\nContent-Type: text/plain\n\nx\n"
_MAIL = "From: a@example.org\nMessage-ID: <1@example.org>\nMIME-Version: 1.0\n"

CASES = (
    Poison("text of 60 MB", "a.txt", _text(60)),
    Poison("text of 60 MB, one letter of it astral", "a.txt", _text(60, last="\U0001f600")),
    Poison("text of 120 MB in UTF-16", "a.txt", _text(120, "utf-16")),
    Poison("text of 500 MB", "a.txt", _text(500), _TOO_LARGE),
    Poison("text of 250 MB in UTF-16", "a.txt", _text(250, "utf-16"), _TOO_LARGE),
    Poison("JSON of 50 MB on one line", "a.json", _json_line),
    Poison("JSON, 100,000 deep", "a.json", _pairs('{"a":[', "1", "]}", 50_000), short_scale=1.0),
    Poison(
        "JSON, 500 deep and 2,000,000 wide", "a.json", _units("1,", 2_000_000, "[" * 500, "1" + "]" * 500)
    ),
    Poison("JSON of 8,000,000 escapes", "a.json", _units("\\u00e9", 8_000_000, '["', '"]')),
    Poison("HTML of 60 MB", "a.html", _units(_PAGE, 1_250_000, "<html><body>")),
    Poison("HTML, 100,000 divs within each other", "a.html", _pairs("<div>", "deep", "</div>", 100_000)),
    Poison("HTML, 100,000 tags never closed", "a.html", _units("<ul><li><b>x ", 100_000, "<html>")),
    Poison("HTML, 500,000 paragraphs never closed", "a.html", _units("<p>A few words", 500_000, "<html>")),
    Poison("HTML, 500,000 rows never closed", "a.html", _units("<tr><td>a<td>b", 500_000, "<html><table>")),
    Poison("PDF of 2,000 pages", "a.pdf", _pdf),
    Poison("DOCX, one part packed 1:1000", "a.docx", _blanks, _TOO_LARGE),
    Poison("DOCX of 25,000 parts", "a.docx", _many_parts, _TOO_LARGE),
    Poison("DOCX with a bomb within archives", "a.docx", _nested_bomb),
    Poison("XLSX of 18 sheets of 31 MB", "a.xlsx", _workbook_of_bombs, _TOO_LARGE),
    Poison("EPUB, one part packed 1:1000", "a.epub", epub(b" ", 90_000_000), _TOO_LARGE),
    Poison(
        "EPUB, a chapter of 15 MB read 100,000 times",
        "a.epub",
        epub(b"<p>words</p>", 1_250_000, repeats=100_000),
        ("parse_out_of_memory", "parse_timeout"),
        short_scale=1.0,
    ),
    Poison("DOCX that lies about a size", "a.docx", _lying, _CORRUPT),
    Poison("DOCX, a billion laughs", "a.docx", docx("&a9;", f"<!DOCTYPE d [{_LAUGHS}]>"), _CORRUPT),
    Poison(
        "ODT with an outer entity",
        "a.odt",
        odt("<text:p>&x;</text:p>", '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/hostname">]>'),
        _CORRUPT,
    ),
    Poison("ODT, 100,000 deep", "a.odt", odt("<text:list>" * 100_000 + "</text:list>" * 100_000), _CORRUPT),
    Poison("Markdown, 1,000,000 open brackets", "a.md", _units("![[", 333_333, "# Title\n\n")),
    Poison("Markdown, 3,000,000 open fences", "a.md", _units("```a\n", 3_000_000, "# Title\n\n")),
    Poison("Markdown, a heading with 20 MB of blanks", "a.md", _units(" ", 20_000_000, "# a", "b\n")),
    Poison("Markdown, 3,000,000 headings without words", "a.md", _units("# \u200b\n", 3_000_000, "a\n\n")),
    Poison("CSV, one line of 30 MB", "a.csv", _units("word,7,", 4_300_000)),
    Poison("CSV, 6,000,000 stray quotes", "a.csv", _units('a,"b\n', 6_000_000)),
    Poison("text, 60,000,000 line ends", "a.txt", _units("\n", 60_000_000, "a", "b")),
    Poison("code, 100,000 lines that look like functions", "a.c", _units("x" + " a(" * 98 + ";)\n", 100_000)),
    Poison(
        "mail to 2,000,000 people", "a.eml", _units("a@example.org, ", 2_000_000, f"{_MAIL}To: ", "\n\nx\n")
    ),
    Poison(
        "mail of 100,000 parts",
        "a.eml",
        _units(_PARTS, 100_000, f"{_MAIL}Content-Type: multipart/mixed; boundary=b\n\n", "--b--\n"),
    ),
)
