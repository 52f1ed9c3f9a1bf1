"""Which kind of text a text is: by what cannot be mistaken first, then by the name, then by its look."""

import re
from itertools import pairwise

import msgspec

_HTML = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:(?><!--.*?-->)\s*+)*+<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_XML = re.compile(r"\s*<\?xml\b")
_MAIL_FIRST = re.compile(r"(?:From [^\n]+\n)?[A-Za-z][A-Za-z0-9-]{1,60}:[ \t]")
_MAIL_FIELDS = re.compile(
    r"^(From|To|Cc|Subject|Date|Message-ID|MIME-Version|Received|Return-Path|Reply-To|Content-Type|"
    r"Delivered-To|DKIM-Signature):",
    re.IGNORECASE | re.MULTILINE,
)
_SHEBANG = re.compile(r"#!\s*/\S+")

_BY_SUFFIX = {
    ".md": "markdown", ".markdown": "markdown", ".mdx": "markdown", ".mkd": "markdown", ".qmd": "markdown",
    ".rst": "rst", ".rest": "rst", ".org": "org", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".json": "json", ".jsonl": "json", ".ndjson": "json", ".geojson": "json", ".ipynb": "json",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".xml": "xml", ".svg": "xml",
    ".txt": "text", ".text": "text", ".log": "text",
}  # fmt: skip
_CODE_SUFFIXES = frozenset({
    ".py", ".pyi", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".java", ".kt", ".kts", ".scala",
    ".groovy", ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".cs", ".go", ".rs", ".rb", ".php",
    ".swift", ".m", ".mm", ".lua", ".pl", ".pm", ".r", ".jl", ".dart", ".ex", ".exs", ".erl", ".hs",
    ".ml", ".mli", ".clj", ".cljs", ".lisp", ".el", ".sh", ".bash", ".zsh", ".fish", ".ps1", ".bat",
    ".sql", ".proto", ".graphql", ".tf", ".hcl", ".toml", ".yaml", ".yml", ".ini", ".cfg", ".conf",
    ".css", ".scss", ".less", ".vue", ".svelte", ".sol", ".zig", ".nim", ".asm", ".s", ".f90", ".vb",
    ".fs", ".cmake", ".mk", ".gradle", ".dockerfile",
})  # fmt: skip
_BY_MEDIA_TYPE = {
    "text/markdown": "markdown", "text/x-markdown": "markdown", "text/x-rst": "rst", "text/org": "org",
    "text/x-org": "org", "text/csv": "csv", "text/tab-separated-values": "tsv", "application/json": "json",
    "application/x-ndjson": "json", "text/html": "html", "application/xhtml+xml": "html", "text/xml": "xml",
    "application/xml": "xml", "message/rfc822": "eml", "text/x-python": "code", "text/javascript": "code",
    "application/javascript": "code", "text/x-source-code": "code",
}  # fmt: skip

_MARKDOWN = re.compile(
    r"^#{1,6} \S|^(?:```|~~~)|^[*-] \S|^\d+\. \S|^\|.+\|$|\[[^\[\]\n]+\]\([^)\s]+\)|\*\*[^*\n]+\*\*",
    re.MULTILINE,
)
_MARKDOWN_SURE = re.compile(r"^#{1,6} \S|^(?:```|~~~)|\[[^\[\]\n]+\]\([^)\s]+\)|^\|[ :|-]+\|$", re.MULTILINE)
_RST = re.compile(r"^\.\. [\w-]+::|^\S.*\n(?:={4,}|-{4,}|~{4,}|\^{4,})$", re.MULTILINE)
_ORG = re.compile(r"^#\+\w+:|^\*+ \S", re.MULTILINE)
_LOOK_CHARACTERS = 20_000
_NO_NUMBER = re.compile(rb"-?\b(?:NaN|Infinity)\b")
"""Not JSON, but what many programs write."""


def sniff_text(text: str, suffix: str, declared_type: str | None) -> str:
    """Return the `doc_type` of `text`, whose file name ends in `suffix` (with the dot, lower case)."""
    return _sure(text, suffix) or _by_name(text, suffix, declared_type) or _by_look(text[:_LOOK_CHARACTERS])


def _sure(text: str, suffix: str) -> str | None:
    """What the content alone decides, whatever the name says."""
    if _HTML.match(text[:4096]) and suffix not in _CODE_SUFFIXES:
        return "html"
    if _XML.match(text[:4096]):
        return "html" if re.search(r"<html\b", text[:4096]) else "xml"
    if _is_mail(text):
        return "eml"
    if text[:4096].lstrip()[:1] in ("{", "[") and suffix not in (".md", ".org", ".rst") and _is_json(text):
        return "json"
    return None


def _by_name(text: str, suffix: str, declared_type: str | None) -> str | None:
    if suffix in _CODE_SUFFIXES or _SHEBANG.match(text[:4096]):
        return "code"
    named = _BY_SUFFIX.get(suffix)
    if named is None and not suffix and declared_type:
        named = _BY_MEDIA_TYPE.get(declared_type.split(";")[0].strip().lower())
    if named == "json" and not _is_json(text):
        return "text"
    if named == "csv" and "\t" in text[:1000] and "," not in text[:1000]:
        return "tsv"
    return named


def _by_look(text: str) -> str:
    lines = [line for line in text.split("\n")[:40] if line.strip()]
    if len(lines) >= 3:
        for delimiter, doc_type in (("\t", "tsv"), (",", "csv"), (";", "csv")):
            counts = [line.count(delimiter) for line in lines[:20]]
            if counts[0] >= 1 and all(a == b for a, b in pairwise(counts)):
                return doc_type
    if len(_RST.findall(text)) >= 2:
        return "rst"
    if _MARKDOWN_SURE.search(text) and len(_MARKDOWN.findall(text)) >= 2:
        return "markdown"
    return "org" if re.match(r"#\+\w+:", text) and len(_ORG.findall(text)) >= 2 else "text"


def _is_mail(text: str) -> bool:
    if not _MAIL_FIRST.match(text):
        return False
    head = text[:65_536].split("\n\n", 1)[0]
    fields = {match[1].lower() for match in _MAIL_FIELDS.finditer(head)}
    return len(fields) >= 2 and bool(
        fields & {"from", "received", "mime-version", "message-id", "return-path"}
    )


def _is_json(text: str) -> bool:
    """Whether `text` is JSON or JSON lines; nesting too deep to read counts by its look."""
    data = text.encode("utf-8", "replace")
    try:
        if _is_json_value(data) or (_NO_NUMBER.search(data) and _is_json_value(_NO_NUMBER.sub(b"0", data))):
            return True
    except RecursionError:
        return data[-4096:].rstrip()[-1:] in (b"}", b"]")
    data = data.strip()
    first, last = data.find(b"\n"), data.rfind(b"\n")
    return first > 0 and _is_json_line(data[:first]) and _is_json_line(data[last + 1 :])


def _is_json_value(data: bytes) -> bool:
    """Whether `data` is one JSON value; no objects are made of it."""
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _is_json_line(line: bytes) -> bool:
    try:
        return line.lstrip()[:1] in (b"{", b"[") and _is_json_value(line)
    except RecursionError:
        return False
