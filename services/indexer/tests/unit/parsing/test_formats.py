import io
import zipfile

import pytest

from quarry_indexer.parsing.errors import (
    CorruptDocumentError,
    DocumentTooLargeError,
    EmptyDocumentError,
    EncryptedDocumentError,
    ParseError,
    UnsupportedFormatError,
)
from quarry_indexer.parsing.formats import Format
from quarry_indexer.parsing.formats import sniff as sniff_file

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(64)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512)
MAIL = b"From: a@example.org\nTo: b@example.org\nSubject: Hello\n\nBody\n"
CSV = b"name,age\nAda,36\nAlan,41\n"


def sniff(data: bytes, name: str, declared_type: str | None = None) -> Format:
    return sniff_file(io.BytesIO(data), name, declared_type)


def zipped(*names: str, mimetype: str = "") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, "<x/>")
    return target.getvalue()


@pytest.mark.parametrize(
    ("data", "name", "doc_type"),
    [
        (b"%PDF-1.7\n...", "report.txt", "pdf"),
        (b"{\\rtf1 Hello}", "letter.doc", "rtf"),
        (zipped("[Content_Types].xml", "word/document.xml"), "a.zip", "docx"),
        (zipped("ppt/presentation.xml"), "a", "pptx"),
        (zipped("xl/workbook.xml"), "a.docx", "xlsx"),
        (zipped(mimetype="application/vnd.oasis.opendocument.text"), "a", "odt"),
        (zipped("META-INF/container.xml", mimetype="application/epub+zip"), "a", "epub"),
        (OLE + "WordDocument\0".encode("utf-16-le"), "a", "doc"),
        (OLE + "PowerPoint Document\0".encode("utf-16-le"), "a", "ppt"),
        (OLE + "Workbook\0".encode("utf-16-le"), "a", "xls"),
        (OLE + "__properties_version1.0\0".encode("utf-16-le"), "a", "msg"),
        (b"<!DOCTYPE html><html><body>x</body></html>", "page.txt", "html"),
        (MAIL, "note.txt", "eml"),
        (b'{"a": [1, 2]}', "data.txt", "json"),
        (b'{"a": 1}\n{"a": 2}\n', "lines", "json"),
        (b"<?xml version='1.0'?><a/>", "feed", "xml"),
    ],
)
def test_content_decides_whatever_the_name_says(data: bytes, name: str, doc_type: str) -> None:
    assert sniff(data, name).doc_type == doc_type


@pytest.mark.parametrize(
    ("name", "doc_type"),
    [
        ("a.md", "markdown"),
        ("a.rst", "rst"),
        ("a.org", "org"),
        ("a.py", "code"),
        ("A.TXT", "text"),
        ("a.csv", "csv"),
        ("a.tsv", "tsv"),
        ("a", "text"),
    ],
)
def test_the_name_decides_between_kinds_of_text(name: str, doc_type: str) -> None:
    assert sniff(b"just words", name).doc_type == doc_type


@pytest.mark.parametrize(
    ("data", "doc_type"),
    [
        (CSV, "csv"),
        (CSV.replace(b",", b"\t"), "tsv"),
        (b"# Title\n\nSee [here](https://example.org).\n\n- one\n", "markdown"),
        (b"Title\n=====\n\n.. note:: x\n\nMore\n----\n", "rst"),
        (b"#+title: T\n* One\n", "org"),
        (b"#!/bin/sh\necho hello\n", "code"),
    ],
)
def test_without_a_name_the_look_decides(data: bytes, doc_type: str) -> None:
    assert sniff(data, "").doc_type == doc_type


def test_a_declared_type_stands_in_for_a_missing_suffix() -> None:
    assert sniff(b"just words", "notes", "text/markdown; charset=utf-8").doc_type == "markdown"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyDocumentError),
        (b" \n\t\r\n", EmptyDocumentError),
        (" \n".encode("utf-16"), EmptyDocumentError),
        (bytes(100_000), UnsupportedFormatError),
        (PNG, UnsupportedFormatError),
        (b"\x1f\x8b\x08\0" + bytes(range(256)), UnsupportedFormatError),
        (zipped("holiday.txt"), UnsupportedFormatError),
        (OLE, UnsupportedFormatError),
        (b"PK\x03\x04 cut off", CorruptDocumentError),
        (OLE + "EncryptedPackage\0".encode("utf-16-le"), EncryptedDocumentError),
    ],
)
def test_what_is_no_document_is_refused(data: bytes, error: type[ParseError]) -> None:
    with pytest.raises(error) as raised:
        sniff(data, "report.pdf")

    assert raised.value.data.advice


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("word/document.xml", "x")
        archive.getinfo("word/document.xml").file_size = 4_000_000_000

    with pytest.raises(DocumentTooLargeError):
        sniff(target.getvalue(), "bomb.docx")
