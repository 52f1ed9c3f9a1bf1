"""Forms that no upload may accept, and file names that must lead nowhere."""

from collections.abc import Iterable

BOUNDARY = "frontier"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
TOO_LARGE = frozenset({413})
WRONG = frozenset({422})
BAD = frozenset({400})


def part(disposition: str, content: bytes = b"x", *more: str) -> bytes:
    """Return one part of a form."""
    lines = [f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *more]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes, end: bytes = f"--{BOUNDARY}--\r\n".encode()) -> bytes:
    """Return a form of these parts."""
    return b"".join(parts) + end


def fields(names: Iterable[str]) -> list[bytes]:
    return [part(f'name="{name}"') for name in names]


FILE = part('name="file"; filename="a.txt"', b"A text.", "Content-Type: text/plain")
TITLE = part('name="title"', b"A title")

FORMS: dict[str, tuple[str, bytes, frozenset[int]]] = {
    "no boundary": ("multipart/form-data", form(FILE), BAD),
    "empty boundary": ("multipart/form-data; boundary=", form(FILE), BAD),
    "empty quoted boundary": ('multipart/form-data; boundary=""', form(FILE), BAD),
    "boundary of 100 KB": ("multipart/form-data; boundary=" + "b" * 100_000, form(FILE), BAD),
    "another boundary": ("multipart/form-data; boundary=else", form(FILE), BAD),
    "boundary not ASCII": ("multipart/form-data; boundary=gr\u00fcn", form(FILE), BAD),
    "no body": (TYPE, b"", BAD),
    "garbage": (TYPE, b"\x00\xff" * 1000, BAD),
    "JSON": (TYPE, b'{"title": "x"}', BAD),
    "cut off in the file": (TYPE, form(FILE, end=b"")[:-3], BAD),
    "cut off in the headers": (TYPE, FILE[:40], BAD),
    "cut off in the boundary": (TYPE, form(FILE, end=b"--front"), BAD),
    "no last boundary": (TYPE, form(FILE, end=b""), BAD),
    "only the last boundary": (TYPE, form(), WRONG),
    "no name": (TYPE, form(part("x=1"), FILE), BAD | WRONG),
    "no disposition": (TYPE, f"--{BOUNDARY}\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(), BAD),
    "attachment": (TYPE, form(FILE.replace(b"form-data", b"attachment")), BAD),
    "header without a colon": (TYPE, form(part('name="title"', b"x", "nonsense"), FILE), BAD),
    "header of 100 KB": (TYPE, form(part('name="title"', b"x", "X-Long: " + "y" * 100_000)), BAD | TOO_LARGE),
    "header without end": (TYPE, f"--{BOUNDARY}\r\nX-Long: ".encode() + b"y" * (1 << 20), BAD | TOO_LARGE),
    "thousand headers": (
        TYPE, form(part('name="title"', b"x", *(f"X-{i}: y" for i in range(1000)))), BAD | TOO_LARGE,
    ),
    "ten thousand fields": (TYPE, form(*fields(f"f{i}" for i in range(10_000))), TOO_LARGE),
    "unknown field": (TYPE, form(part('name="nobody_knows"'), FILE), WRONG),
    "field in another's place": (TYPE, form(part('name="tenant_id"'), FILE), WRONG),
    "name of 4 KB": (TYPE, form(part(f'name="{"n" * 4000}"'), FILE), WRONG),
    "two files": (TYPE, form(FILE, FILE), WRONG),
    "two titles": (TYPE, form(TITLE, TITLE, FILE), WRONG),
    "file and content": (TYPE, form(part('name="content"', b"A text."), FILE), WRONG),
    "content of 17 MB": (TYPE, form(part('name="content"', b"x" * (17 << 20))), TOO_LARGE),
    "title of 2 MB": (TYPE, form(part('name="title"', b"x" * (2 << 20)), FILE), TOO_LARGE),
    "title of 2 KB": (TYPE, form(part('name="title"', b"x" * 2000), FILE), WRONG),
    "title not UTF-8": (TYPE, form(part('name="title"', b"\xff\xfe"), FILE), WRONG),
    "title with NUL": (TYPE, form(part('name="title"', b"a\0b"), FILE), WRONG),
    "name not UTF-8": (TYPE, form(part('name="\udcff\udcfe"'), FILE), BAD),
    "name with NUL": (TYPE, form(part('name="a\0b"'), FILE), BAD | WRONG),
    "tags no JSON": (TYPE, form(part('name="tags"', b"one, two"), FILE), WRONG),
    "tags an object": (TYPE, form(part('name="tags"', b'{"a": 1}'), FILE), WRONG),
    "metadata nested": (TYPE, form(part('name="metadata"', b'{"a": {"b": 1}}'), FILE), WRONG),
    "metadata deep": (TYPE, form(part('name="metadata"', b"[" * 100_000 + b"]" * 100_000), FILE), WRONG),
    "metadata NaN": (TYPE, form(part('name="metadata"', b'{"a": NaN}'), FILE), WRONG),
    "metadata 10^400": (TYPE, form(part('name="metadata"', b'{"a": 1' + b"0" * 400 + b"}"), FILE), WRONG),
    "metadata with NUL": (TYPE, form(part('name="metadata"', b'{"a": "\\u0000"}'), FILE), WRONG),
    "metadata lone surrogate": (TYPE, form(part('name="metadata"', b'{"a": "\\ud800"}'), FILE), WRONG),
    "external id empty": (TYPE, form(part('name="external_id"', b""), FILE), WRONG),
    "collection is a path": (TYPE, form(part('name="collection"', b"../other"), FILE), WRONG),
    "nested form": (
        TYPE,
        form(part('name="metadata"', b"--i\r\n\r\nx\r\n--i--", "Content-Type: multipart/mixed; boundary=i")),
        WRONG,
    ),
}  # fmt: skip

FILE_NAMES: dict[str, tuple[str, str]] = {
    "up and away": ("../../etc/passwd", "passwd"),
    "absolute": ("/etc/passwd", "passwd"),
    "Windows": ("..\\\\..\\\\windows\\\\win.ini", "win.ini"),
    "drive": ("C:\\\\secret.txt", "secret.txt"),
    "encoded": ("%2e%2e%2fpasswd.txt", "%2e%2e%2fpasswd.txt"),
    "empty": ("", ""),
    "dots": ("..", ".."),
    "only a slash": ("/", ""),
    "line break": ("a%0d%0aX-Injected: 1.txt", "a%0d%0aX-Injected: 1.txt"),
    "tab and bell": ("a\tb\x07c.txt", "abc.txt"),
    "right to left": ("a\u202etxt.exe", "atxt.exe"),
    "very long": ("n" * 3000 + ".txt", "n" * 255),
    "markup": ("<script>alert(1)<.txt", "<script>alert(1)<.txt"),
    "shell": ("$(id) `id` ;id.txt", "$(id) `id` ;id.txt"),
    "URL": ("http://evil.test/a.txt", "a.txt"),
}
"""By what it tries: the name in the form, and what is left of it."""
