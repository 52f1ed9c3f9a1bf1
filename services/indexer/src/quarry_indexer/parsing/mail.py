"""E-mail (RFC 5322) to text: subject as heading, who and when, the body, names of attachments."""

from email import policy
from email.errors import MessageError
from email.message import EmailMessage
from email.parser import BytesParser

from quarry_indexer.parsing.decoding import decode
from quarry_indexer.parsing.errors import CorruptDocumentError
from quarry_indexer.parsing.extracted import Extracted
from quarry_indexer.parsing.markup import html_to_markdown

_SHOWN = ("From", "To", "Cc", "Date")


def extract_mail(data: bytes) -> Extracted:
    """Return a message's text. Raises `CorruptDocumentError` where it cannot be taken apart."""
    try:
        message = BytesParser(policy=policy.default).parsebytes(data)
        fields = {name: _field(message, name) for name in ("Subject", *_SHOWN)}
        body, attachments = _body(message)
    except (MessageError, LookupError, ValueError, RecursionError, AttributeError) as error:
        raise CorruptDocumentError(f"The e-mail cannot be taken apart: {error}") from None
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


def _body(message: EmailMessage) -> tuple[str, list[str]]:
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
            texts.append(_text(part))
    return "\n\n".join(texts), attachments


def _text(part: EmailMessage) -> str:
    raw = part.get_payload(decode=True)
    data = raw if isinstance(raw, bytes) else b""
    charset = part.get_content_charset()
    try:
        text = data.decode(charset) if charset else decode(data) or ""
    except (LookupError, UnicodeDecodeError):
        text = decode(data) or ""
    text = text.replace("\r\n", "\n").replace("\0", "")
    return html_to_markdown(text) if part.get_content_subtype() == "html" else text
