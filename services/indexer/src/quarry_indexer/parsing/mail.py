"""E-mail (RFC 5322) to text: subject as heading, who and when, the body, names of attachments."""

from email.errors import MessageError
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import EmailPolicy
from typing import BinaryIO

from quarry_indexer.parsing.decoding import decode, text_encoding
from quarry_indexer.parsing.errors import CorruptDocumentError
from quarry_indexer.parsing.extracted import Extracted
from quarry_indexer.parsing.markup import html_to_markdown

_SHOWN = ("From", "To", "Cc", "Date")
_MAX_FIELD_CHARACTERS = 16_384
_MAX_CONTENT_FIELD_CHARACTERS = 1024


class _Policy(EmailPolicy):
    """The standard library's, for whose parser of header fields a long one costs its length squared."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        is_content = name.lower().startswith("content-")  # every part has these, and there may be many
        most, mark = (_MAX_CONTENT_FIELD_CHARACTERS, ";") if is_content else (_MAX_FIELD_CHARACTERS, ",")
        return name, value if len(value) <= most else value[:most].rpartition(mark)[0]


_POLICY = _Policy()


def extract_mail(file: BinaryIO, max_text_bytes: int) -> Extracted:
    """Return a message's text.

    Raises `CorruptDocumentError` where it cannot be taken apart, `DocumentTooLargeError` above the limit.
    """
    try:
        message = BytesParser(policy=_POLICY).parse(file)
        assert isinstance(message, EmailMessage)  # noqa: S101 - the policy makes it one
        fields = {name: _field(message, name) for name in ("Subject", *_SHOWN)}
        body, attachments = _body(message, max_text_bytes)
    except (MessageError, LookupError, ValueError, RecursionError, AttributeError) as error:
        raise CorruptDocumentError(f"The e-mail cannot be taken apart: {error}.") from None
    subject = fields.pop("Subject")
    head = [f"# {subject}"] if subject else []
    head.append("\n".join(f"{name}: {value}" for name, value in fields.items() if value))
    tail = ["Attachments: " + ", ".join(attachments)] if attachments else []
    return Extracted(
        "\n\n".join(part for part in (*head, body.strip(), *tail) if part),
        title=subject or None,
        metadata={name.lower(): value for name, value in fields.items() if value},
    )


def _field(message: EmailMessage, name: str) -> str:
    return " ".join(str(message.get(name, "")).split())


def _body(message: EmailMessage, max_text_bytes: int) -> tuple[str, list[str]]:
    """The plain parts; an alternative's HTML only where it has no plain one."""
    texts: list[str] = []
    attachments: list[str] = []
    preferred = message.get_body(("plain", "html"))
    for part in message.walk():
        if part.is_multipart():
            continue
        name = part.get_filename()
        if name:
            attachments.append(name)
        elif part is preferred or (part.get_content_type() == "text/plain" and not part.is_attachment()):
            texts.append(_text(part, max_text_bytes))
    return "\n\n".join(texts), attachments


def _text(part: EmailMessage, max_text_bytes: int) -> str:
    raw = part.get_payload(decode=True)
    data = raw if isinstance(raw, bytes) else b""
    encoding = text_encoding(part.get_content_charset() or "")
    try:
        text = data.decode(encoding) if encoding else decode(data) or ""
    except UnicodeDecodeError:
        text = decode(data) or ""
    text = text.replace("\r\n", "\n").replace("\0", "")
    return html_to_markdown(text, max_text_bytes) if part.get_content_subtype() == "html" else text
