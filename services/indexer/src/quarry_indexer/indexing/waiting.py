import asyncio


async def wait_for(woken: asyncio.Event, stopping: asyncio.Event, seconds: float) -> None:
    """Return when one of the events is set, or after `seconds`."""
    waits = {asyncio.create_task(woken.wait()), asyncio.create_task(stopping.wait())}
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
