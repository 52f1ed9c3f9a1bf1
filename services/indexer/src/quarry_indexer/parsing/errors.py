"""Why a document gives no text: each with a code, a sentence and what to do."""

from typing import ClassVar

from quarry_common.errors import ErrorData, QuarryError


class ParseError(QuarryError):
    """Base of all that can be wrong with one document; no other document is concerned."""

    killed_child: ClassVar[bool] = False
    """Whether the process that read it died or had to be killed: what else the machine did may have had a
    part in it, so a second try by itself is worth it."""

    code = "parse_failed"
    status = 422
    title = "The document cannot be read"
    advice = "Open the file in the program that made it, save it again and upload the new file."


class UnsupportedFormatError(ParseError):
    """The bytes are of no format that Quarry reads."""

    code = "unsupported_format"
    status = 415
    title = "The format is not supported"
    advice = (
        "Convert the file to PDF, DOCX, HTML, Markdown or plain text and upload that; "
        "docs/formats.md lists every format."
    )


class EmptyDocumentError(ParseError):
    """The file holds no bytes or only blanks."""

    code = "empty_document"
    title = "The document is empty"
    advice = "Upload a file with content, or send a title: a document with a title alone is indexed."


class EncryptedDocumentError(ParseError):
    """The file asks for a password."""

    code = "encrypted_document"
    title = "The document is encrypted"
    advice = "Remove the password (print to PDF, or save without protection) and upload the new file."


class NoTextError(ParseError):
    """The file is well-formed but holds no text, as a scan does."""

    code = "no_text"
    title = "The document holds no text"
    advice = "If it is a scan, run it through OCR (for example `ocrmypdf`) and upload the result."


class CorruptDocumentError(ParseError):
    """The file claims a format that its bytes do not keep."""

    code = "corrupt_document"
    title = "The document is damaged"
    advice = "Check that the file opens on your machine and was sent whole, then upload it again."


class DocumentTooLargeError(ParseError):
    """The file, unpacked, or its text is larger than the limit."""

    code = "document_too_large"
    status = 413
    title = "The document is too large"
    advice = "Split it into several files, or ask the operator to raise PARSER_MAX_TEXT_MB."


class ParseTimeoutError(ParseError):
    """Reading took longer than the limit."""

    killed_child = True
    code = "parse_timeout"
    title = "Reading the document took too long"
    advice = "Split it into smaller files, or ask the operator to raise PARSER_TIMEOUT_SECONDS."


class ParseOutOfMemoryError(ParseError):
    """Reading took more memory than the limit."""

    killed_child = True
    code = "parse_out_of_memory"
    title = "Reading the document took too much memory"
    advice = "Split it into smaller files, or ask the operator to raise PARSER_MEMORY_MB."


class ParseCrashedError(ParseError):
    """The process that read the document died."""

    killed_child = True
    code = "parse_crashed"
    title = "The parser crashed on this document"
    advice = "Save the file again from the program that made it; report the file if it happens again."


def refuse_large(text_bytes: int, max_text_bytes: int) -> None:
    """Raise `DocumentTooLargeError` for a text above the limit."""
    if text_bytes > max_text_bytes:
        raise DocumentTooLargeError(
            f"The text has {text_bytes / 1_048_576:.1f} MB; the limit is {max_text_bytes / 1_048_576:.1f} MB."
        )


_KINDS: dict[str, type[ParseError]] = {
    kind.code: kind
    for kind in (
        ParseError,
        UnsupportedFormatError,
        EmptyDocumentError,
        EncryptedDocumentError,
        NoTextError,
        CorruptDocumentError,
        DocumentTooLargeError,
        ParseTimeoutError,
        ParseOutOfMemoryError,
        ParseCrashedError,
    )
}


def parse_error(data: ErrorData) -> ParseError:
    """Return the typed error that a child process reported as `data`."""
    error = _KINDS.get(data.code, ParseError)(data.detail, advice=data.advice)
    error.data = data
    return error
