"""The parser process: `python -m quarry_indexer.preparation.child LIMITS`, one request after another.

It ends when its parent does: its standard input closes, and on Linux the kernel kills it.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from quarry_common.embedding.tokenizer import load_local_tokenizer
from quarry_indexer.chunking.chunk import TokenCounter
from quarry_indexer.chunking.chunker import iterate_chunks
from quarry_indexer.parsing.errors import ParseCrashedError, ParseError, ParseOutOfMemoryError
from quarry_indexer.parsing.extract import extract
from quarry_indexer.parsing.utf8 import utf8_length, utf8_slices
from quarry_indexer.preparation.protocol import (
    CHUNKS,
    HEAD_BYTES,
    HEADER,
    READY,
    REFUSED,
    TEXT,
    Header,
    Limits,
    Request,
    decode_request,
    encode,
    encode_pages,
    frame,
    frame_head,
)

_PR_SET_PDEATHSIG = 1
# What fits into it leaves in one write: header, text and chunks of an ordinary document.
_BUFFER_BYTES = 256 * 1024


def main() -> None:
    """Serve requests from standard input until it closes."""
    limits = msgspec.json.decode(sys.argv[1], type=Limits)
    _die_with(limits.parent_pid)
    answers = _take_standard_output()
    _limit_memory(limits.address_space_bytes)
    tokens = load_local_tokenizer()
    answers.write(frame(READY, b""))
    answers.flush()
    while request := _read(sys.stdin.buffer):
        for kind, body in _answer(request, limits, tokens):
            answers.write(frame(kind, body))
        answers.flush()


def _answer(request: Request, limits: Limits, tokens: TokenCounter) -> Iterator[tuple[bytes, bytes]]:
    """Yield the frames of an answer. Only reading and cutting can fail, and that is over before the first."""
    try:
        document = extract(
            Path(request.path), request.file_name, request.declared_type, max_text_bytes=limits.max_text_bytes
        )
        pages = list(encode_pages(iterate_chunks(document, request.options, tokens)))
    except ParseError as error:
        yield REFUSED, encode(error.data)
        return
    except MemoryError:
        full = ParseOutOfMemoryError("Reading the document took more memory than is allowed.")
        yield REFUSED, encode(full.data)
        return
    except Exception as error:  # noqa: BLE001 - this process's edge; the error goes to the job
        crash = ParseCrashedError(f"Reading failed with {type(error).__name__}: {error}"[:500])
        yield REFUSED, encode(crash.data)
        return
    header = Header(
        title=document.title or "",
        doc_type=document.doc_type,
        media_type=document.media_type,
        page_count=document.page_count,
        text_bytes=utf8_length(document.text),
        text_characters=len(document.text),
        chunk_count=sum(count for count, _ in pages),
    )
    yield HEADER, encode(header)
    for piece in utf8_slices(document.text):
        yield TEXT, piece
    for _, page in pages:
        yield CHUNKS, page


def _take_standard_output() -> BinaryIO:
    """Keep the pipe for answers; what libraries print goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb", buffering=_BUFFER_BYTES)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return answers


def _die_with(parent_pid: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before the call
        sys.exit(1)
    # Should the machine run out of memory, this process goes first.
    Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")


def _limit_memory(address_space_bytes: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = address_space_bytes if hard == resource.RLIM_INFINITY else min(address_space_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _read(stream: BinaryIO) -> Request | None:
    head = stream.read(HEAD_BYTES)
    if len(head) < HEAD_BYTES:
        return None
    _, length = frame_head(head)
    return decode_request(stream.read(length))


if __name__ == "__main__":
    main()
