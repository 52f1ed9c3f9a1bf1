"""The parser process: `python -m quarry_indexer.preparation.child LIMITS`, one request after another.

It ends when its parent does: its standard input closes, and on Linux the kernel kills it.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from quarry_common.embedding.tokenizer import load_local_tokenizer
from quarry_indexer.chunking.chunk import TokenCounter
from quarry_indexer.chunking.chunker import chunk_document
from quarry_indexer.parsing.errors import ParseCrashedError, ParseError, ParseOutOfMemoryError
from quarry_indexer.parsing.extract import extract
from quarry_indexer.preparation.protocol import (
    LENGTH_BYTES,
    Answer,
    ChunkedDocument,
    Limits,
    Ready,
    Refused,
    Request,
    frame,
)

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve requests from standard input until it closes."""
    limits = msgspec.json.decode(sys.argv[1], type=Limits)
    _die_with(limits.parent_pid)
    answers = _take_standard_output()
    _limit_memory(limits.address_space_bytes)
    tokens = load_local_tokenizer()
    _write(answers, Ready())
    while request := _read(sys.stdin.buffer):
        _write(answers, _answer(request, limits, tokens))


def _answer(request: Request, limits: Limits, tokens: TokenCounter) -> Answer:
    try:
        document = extract(
            Path(request.path), request.file_name, request.declared_type, max_text_bytes=limits.max_text_bytes
        )
        chunks = chunk_document(document, request.options, tokens)
    except ParseError as error:
        return Refused(error.data)
    except MemoryError:
        return Refused(ParseOutOfMemoryError("Reading the document took more memory than is allowed.").data)
    except Exception as error:  # noqa: BLE001 - this process's edge; the error goes to the job
        return Refused(ParseCrashedError(f"Reading failed with {type(error).__name__}: {error}"[:500]).data)
    return ChunkedDocument(document, tuple(chunks))


def _take_standard_output() -> BinaryIO:
    """Keep the pipe for answers; what libraries print goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
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
    length = stream.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    return msgspec.msgpack.decode(stream.read(int.from_bytes(length, "big")), type=Request)


def _write(stream: BinaryIO, answer: Answer) -> None:
    stream.write(frame(answer))
    stream.flush()


if __name__ == "__main__":
    main()
