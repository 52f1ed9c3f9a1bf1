"""What processes that start others, and those that are started, need: to begin and to end in order."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Coroutine
from typing import TypeVar

ResultT = TypeVar("ResultT")

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """In a child: end with the parent (Linux), also when that has ended already, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


async def to_its_end(work: Coroutine[object, object, ResultT]) -> ResultT:
    """Do `work` whole and return its result; a cancellation that comes meanwhile holds afterwards."""
    working = asyncio.create_task(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise
