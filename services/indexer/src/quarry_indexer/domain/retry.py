"""What happens to a job after an error: is it over, or tried again, and when?"""

from datetime import timedelta

import msgspec

from quarry_common.errors import ErrorData, QuarryError, UnavailableError, error_data
from quarry_indexer.domain.errors import JobAbandonedError

MAX_FAILURES = 3
MAX_TAKEOVERS = 20
MAX_OUTAGE = timedelta(hours=24)
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 60.0


class Verdict(msgspec.Struct, frozen=True):
    """`delay_seconds` is None when the job has failed for good. `counts` says whether the try is counted."""

    error: ErrorData
    delay_seconds: float | None
    counts: bool = True


def judge(error: Exception, *, attempt: int, failures: int, age: timedelta) -> Verdict:
    """Decide what follows from `error` in the `attempt`-th try of a job that has failed `failures` times.

    A dependency that is away does not count against the document, for a day at most. What is wrong with the
    document itself stays wrong and is not tried again. Anything unforeseen is tried three times.
    """
    data = error_data(error)
    delay = min(FIRST_DELAY_SECONDS * 2.0 ** min(attempt - 1, 10), LONGEST_DELAY_SECONDS)
    if isinstance(error, UnavailableError | OSError) or data.status in {503, 504}:
        return Verdict(data, delay if age < MAX_OUTAGE else None, counts=False)
    if isinstance(error, QuarryError):
        return Verdict(data, None)
    return Verdict(data, delay if failures + 1 < MAX_FAILURES else None)


def refuse_abandoned(takeovers: int) -> None:
    """Raise `JobAbandonedError` for a job whose workers keep dying."""
    if takeovers > MAX_TAKEOVERS:
        raise JobAbandonedError(f"The job was begun {takeovers + 1} times; no worker lived to end it.")
