"""Waits of loops that run until they are told to stop."""

import asyncio


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Return after `seconds`, or as soon as `stopping` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return


async def woken(event: asyncio.Event, stopping: asyncio.Event, seconds: float) -> None:
    """Return when one of the events is set, or after `seconds`."""
    waits = {asyncio.create_task(event.wait()), asyncio.create_task(stopping.wait())}
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
