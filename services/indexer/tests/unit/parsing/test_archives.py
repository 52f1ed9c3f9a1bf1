import io
import zipfile
import zlib

import pytest

from quarry_indexer.parsing.archives import damaged_part, first_bytes, inspect, open_archive
from quarry_indexer.parsing.errors import CorruptDocumentError, DocumentTooLargeError

PART = "word/document.xml"


def packed(content: bytes, *, name: str = PART, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr(name, content)
    return target.getvalue()


def patched(data: bytes, local_at: int, directory_at: int, value: int, width: int = 4) -> bytes:
    """Set a number in a part's own header and in the directory."""
    changed = bytearray(data)
    for mark, at in ((b"PK\3\4", local_at), (b"PK\1\2", directory_at)):
        start = data.index(mark) + at
        changed[start : start + width] = value.to_bytes(width, "little")
    return bytes(changed)


def opened(data: bytes) -> zipfile.ZipFile:
    return open_archive(io.BytesIO(data))


def test_an_honest_archive_passes() -> None:
    archive = opened(packed(b"<a><b/>text</a>" * 1000))

    inspect(archive)

    assert first_bytes(archive, PART, 3) == b"<a>"
    assert damaged_part(archive) is None


def test_a_part_that_states_less_than_it_holds_is_refused_even_with_the_checksum_of_what_it_states() -> None:
    content = b"<a>" + b" " * 100_000
    data = patched(packed(content), 22, 24, 100)
    data = patched(data, 14, 16, zlib.crc32(content[:100]))

    with pytest.raises(CorruptDocumentError, match="larger than the 100 bytes"):
        inspect(opened(data))


def test_a_stored_part_cannot_lie_either() -> None:
    data = patched(packed(b"<a>" + b" " * 1000, method=zipfile.ZIP_STORED), 22, 24, 100)

    with pytest.raises(CorruptDocumentError, match="larger"):
        inspect(opened(data))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_way_of_packing_that_no_document_has_is_refused(method: int) -> None:
    with pytest.raises(CorruptDocumentError, match="packed in a way"):
        opened(packed(b"<a/>", method=method))


def test_a_large_part_that_packs_too_well_is_refused_unread() -> None:
    with pytest.raises(DocumentTooLargeError, match="100 times"):
        opened(packed(bytes(40_000_000)))


def test_a_directory_of_millions_of_parts_is_not_even_listed() -> None:
    data = packed(b"<a/>")
    at, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry = data[at:end]
    many = entry * 200_000
    tail = bytearray(data[end:])
    tail[12:16] = len(many).to_bytes(4, "little")

    with pytest.raises(DocumentTooLargeError, match="many more parts"):
        opened(data[:at] + many + bytes(tail))


def test_elements_within_each_other_beyond_reason_are_refused() -> None:
    deep = b"<a>" * 501 + b"</a>" * 501

    with pytest.raises(CorruptDocumentError, match="500 deep"):
        inspect(opened(packed(deep)))
    inspect(opened(packed(b"<a>" * 500 + b"</a>" * 500)))
    inspect(opened(packed(deep, name="picture.bin")))


@pytest.mark.parametrize(
    "subset", ['<!ENTITY a "b">', '<!ENTITY a SYSTEM "file:///etc/hostname">', '<!ENTITY % a "b">']
)
def test_a_part_that_declares_entities_is_refused(subset: str) -> None:
    with pytest.raises(CorruptDocumentError, match="declares entities"):
        inspect(opened(packed(f"<!DOCTYPE d [{subset}]><d/>".encode())))


def test_the_document_type_of_a_page_is_no_harm() -> None:
    page = b'<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "xhtml11.dtd"><html>&nbsp;</html>'

    inspect(opened(packed(page, name="chapter.xhtml")))


def test_an_archive_without_its_beginning_is_corrupt() -> None:
    data = packed(b"<a>" + bytes(range(256)) * 20)

    with pytest.raises(CorruptDocumentError, match="cut off"):
        opened(data[100:])


def test_an_end_of_the_directory_that_points_nowhere_is_corrupt() -> None:
    data = bytearray(packed(b"<a/>"))
    end = data.index(b"PK\5\6")
    data[end + 12 : end + 16] = b"\xff" * 4
    data[end:end] = b"PK\6\7" + bytes(4) + b"\xff" * 8 + bytes(4)

    with pytest.raises(CorruptDocumentError):
        opened(bytes(data))


def test_damage_is_told_where_it_is() -> None:
    data = bytearray(packed(b"<a>some words</a>" * 50))
    data[60] ^= 0xFF
    archive = opened(bytes(data))

    inspect(archive)

    assert damaged_part(archive) == PART
    assert first_bytes(archive, "missing", 10) == b""
