"""Bytes to text: byte order marks, UTF-8, UTF-16 without a mark, and the legacy encodings."""

import codecs
import re

import charset_normalizer

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LEGACY = [
    "cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256",
    "cp932", "euc_jp", "iso2022_jp", "gb18030", "big5", "cp949", "cp874",
]  # fmt: skip
_SAMPLE_BYTES = 128 * 1024
_CONTROLS = bytes(set(range(32)) - {9, 10, 12, 13, 27})
_CENTRAL_EUROPEAN = re.compile(rb"[\x8a\x8e\x9a\x9e]|[\xb3\xb9\xba\xbf](?=[a-zA-Z\x80-\xff])")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_WIDE = re.compile(r"[^\x00-\x7f]")
_BYTES_OF_A_LETTER = {"utf-16": 2, "utf-16-le": 2, "utf-16-be": 2, "utf-32": 4}
# Codecs of Python's that are no document's: some take time that grows with the square of the length.
_NO_TEXT_ENCODINGS = frozenset({
    "idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "rot-13", "base64", "bz2", "hex",
    "quopri", "uu", "zlib", "mbcs", "oem",
})  # fmt: skip
_DECLARED = re.compile(
    rb"""<(?:meta[^>]{0,200}?charset|\?xml[^>]{0,100}?encoding)\s*=\s*["']?\s*([\w.:-]{1,40})""",
    re.IGNORECASE,
)


def decode(data: bytes) -> str | None:
    """Return `data` as text with `\\n` line ends and no NULs, or None if it is not text.

    Invalid sequences in what is otherwise UTF-8 become U+FFFD; nothing is dropped.
    """
    text = _decode(data)
    if text is None:
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def character_bytes(head: bytes) -> int | None:
    """Return how many bytes a file that begins with `head` takes for a letter of the Latin alphabet.

    A text in UTF-8 is never smaller than the file divided by that, but for line ends. None if it is no text.
    """
    encoding = _wide(head)
    if encoding:
        return _BYTES_OF_A_LETTER.get(encoding, 1)
    return None if _looks_binary(head) else 1


def text_encoding(name: str) -> str | None:
    """Return the codec that a document declares as `name`, or None if there is no such encoding of text."""
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return None if found in _NO_TEXT_ENCODINGS else found


def _decode(data: bytes) -> str | None:
    if encoding := _wide(data):
        return data.decode(encoding, "replace")
    if _looks_binary(data):
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _legacy(data)
    return data.decode("iso2022_jp", "replace") if "\x1b$" in text else text


def _wide(data: bytes) -> str | None:
    """The encoding that a byte order mark or the place of NULs tells."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return encoding
    return _utf16_without_mark(data)


def _utf16_without_mark(data: bytes) -> str | None:
    """Latin text in UTF-16 has a NUL in every other byte, and none in between."""
    sample = data[:4096]
    half = len(sample) // 2
    if half < 2:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > half * 0.4 and even < half * 0.02:
        return "utf-16-le"
    if even > half * 0.4 and odd < half * 0.02:
        return "utf-16-be"
    return None


def _looks_binary(data: bytes) -> bool:
    sample = data[:_SAMPLE_BYTES]
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    return sample.count(0) > len(sample) // 1000 or controls > len(sample) // 50


def _legacy(data: bytes) -> str | None:
    # The sample may end within a letter, which is no damage.
    sample = codecs.getincrementaldecoder("utf-8")("replace").decode(data[:_SAMPLE_BYTES])
    broken = sample.count("\ufffd")
    wide = len(_WIDE.findall(sample)) - broken
    if wide > broken * 3:  # UTF-8 with a few damaged bytes
        return data.decode("utf-8", "replace")
    declared = _DECLARED.search(data[:2048])
    if declared and (encoding := text_encoding(declared[1].decode("ascii"))):
        return data.decode(encoding, "replace")
    tell = _telling_lines(data)
    best = charset_normalizer.from_bytes(tell, cp_isolation=_LEGACY, enable_fallback=False).best()
    encoding = best.encoding if best else "cp1252"
    if encoding == "cp1250" and not _central_european(tell):
        encoding = "cp1252"
    return data.decode(encoding, "replace")


def _telling_lines(data: bytes) -> bytes:
    """The first lines that are not ASCII: only they tell encodings apart."""
    lines: list[bytes] = []
    size_bytes = at = 0
    while size_bytes < _SAMPLE_BYTES and (found := _NOT_ASCII.search(data, at)):
        start = max(data.rfind(b"\n", at, found.start()) + 1, found.start() - _SAMPLE_BYTES // 4, at)
        end = data.find(b"\n", found.start(), start + _SAMPLE_BYTES // 2)
        at = end if end > 0 else start + _SAMPLE_BYTES // 2
        lines.append(data[start:at])
        size_bytes += at - start
    return b"\n".join(lines)[:_SAMPLE_BYTES]


def _central_european(sample: bytes) -> bool:
    """Whether cp1250 fits better than cp1252, which the detector confuses for French and Spanish.

    Polish, Czech and their like use bytes within words that are signs, or very rare letters, in cp1252.
    """
    return len(_CENTRAL_EUROPEAN.findall(sample)) * 25 >= sum(byte > 0x7F for byte in sample)
