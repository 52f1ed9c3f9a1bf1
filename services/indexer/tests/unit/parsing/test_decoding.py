import pytest

from quarry_indexer.parsing.decoding import decode

GERMAN = "Die Größe des Gebäudes beträgt “fünfzig” Meter für Überraschungen ist gesorgt."
FRENCH = "L'été à Genève était très chaud; les élèves ont préféré la forêt. Señor Muñoz llegó mañana."
JAPANESE = "これは日本語の文章です。検索システムは、正しい文字コードを判定しなければなりません。"
CHINESE = "这是一个中文文档。搜索系统必须正确识别字符编码。否则用户看到的就是乱码。"
RUSSIAN = "Это документ на русском языке. Система поиска должна правильно определить кодировку."
POLISH = "Zażółć gęślą jaźń. Wszyscy ludzie rodzą się wolni i równi pod względem swej godności."


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", JAPANESE),
        ("utf-8-sig", GERMAN),
        ("utf-16", JAPANESE),
        ("utf-16-le", "Plain words without a byte order mark"),
        ("utf-16-be", "Plain words without a byte order mark"),
        ("utf-32", RUSSIAN),
        ("cp1252", GERMAN),
        ("latin-1", FRENCH),
        ("cp1250", POLISH),
        ("shift_jis", JAPANESE),
        ("euc_jp", JAPANESE),
        ("iso2022_jp", JAPANESE),
        ("gb18030", CHINESE),
        ("koi8-r", RUSSIAN),
        ("cp1251", RUSSIAN),
    ],
)
@pytest.mark.parametrize("before", ["", "plain ascii words come first\n" * 50], ids=["short", "late"])
def test_text_of_an_encoding_is_decoded_rightly(encoding: str, text: str, before: str) -> None:
    assert decode((before + text).encode(encoding)) == before + text


def test_damaged_utf8_keeps_everything_but_the_damage() -> None:
    data = "Grüße aus Köln und Düsseldorf. Für alle, die Übung möchten.".encode() + b" \xff end"

    assert decode(data) == "Grüße aus Köln und Düsseldorf. Für alle, die Übung möchten. � end"


def test_a_declared_charset_is_believed() -> None:
    assert (
        decode('<meta charset="windows-1251"><p>Да'.encode("cp1251")) == '<meta charset="windows-1251"><p>Да'
    )


def test_line_ends_become_newlines() -> None:
    assert decode(b"a\r\nb\rc\n") == "a\nb\nc\n"


@pytest.mark.parametrize("data", [bytes(4096), bytes(range(256)) * 16], ids=["zeros", "every byte"])
def test_binary_data_is_no_text(data: bytes) -> None:
    assert decode(data) is None
