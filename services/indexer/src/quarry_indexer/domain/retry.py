"""What happens to a job after an error: is it over, or tried again, and when?"""

from datetime import timedelta

import msgspec

from quarry_common.embedding.errors import EmbedderFailedError, EmbedderUnauthorizedError
from quarry_common.errors import ErrorData, QuarryError, UnavailableError, error_data
from quarry_indexer.domain.errors import JobAbandonedError
from quarry_indexer.parsing.errors import ParseError

MAX_FAILURES = 4
MAX_TAKEOVERS = 10
"""Workers that may die over a job, one after another, without its coming forward."""
MAX_OUTAGE = timedelta(hours=24)
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 60.0


class Verdict(msgspec.Struct, frozen=True):
    """`delay_seconds` is None when the job has failed for good. `counts` says whether the try is counted,
    `alone` whether the next one reads the document while nothing else is read."""

    error: ErrorData
    delay_seconds: float | None
    counts: bool = True
    alone: bool = False


def judge(error: Exception, *, attempt: int, failures: int, alone: bool, age: timedelta) -> Verdict:
    """Decide what follows from `error` in the `attempt`-th try of a job that has failed `failures` times.

    A dependency that is away or asks for patience does not count against the document, for a day at most. A
    document that killed the process which read it is read once more, `alone`. What else is wrong with the
    document stays wrong and is not tried again. An embedder that fails, and anything unforeseen, is tried
    four times.
    """
    data = error_data(error)
    delay = min(FIRST_DELAY_SECONDS * 2.0 ** min(attempt - 1, 10), LONGEST_DELAY_SECONDS)
    if isinstance(error, UnavailableError | OSError) or data.status in {503, 504}:
        wanted = min(max(delay, data.retry_after_seconds or 0.0), LONGEST_DELAY_SECONDS)
        return Verdict(data, wanted if age < MAX_OUTAGE else None, counts=False, alone=alone)
    if isinstance(error, ParseError) and error.killed_child and not alone:
        return Verdict(data, delay, alone=True)
    final = isinstance(error, QuarryError) and not isinstance(
        error, EmbedderFailedError | EmbedderUnauthorizedError
    )
    if final or failures + 1 >= MAX_FAILURES:
        return Verdict(data, None)
    return Verdict(data, delay, alone=alone)


def refuse_abandoned(takeovers: int) -> None:
    """Raise `JobAbandonedError` for a job whose workers keep dying."""
    if takeovers > MAX_TAKEOVERS:
        raise JobAbandonedError(f"{takeovers} workers died over the job, one after another.")
