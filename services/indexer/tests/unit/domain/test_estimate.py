from datetime import UTC, datetime, timedelta

from quarry_common.contracts.jobs import Job, JobState
from quarry_common.ids import new_id
from quarry_indexer.domain.estimate import estimated_seconds
from quarry_indexer.repository.jobs import Pace

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def job(state: JobState, done: int = 0, total: int | None = None, started: datetime | None = None) -> Job:
    return Job(
        id=new_id(), document_id=new_id(), collection="default", title="", version=1, state=state, stage=None,
        chunks_done=done, chunks_total=total, attempt=1, created_at=NOW, started_at=started,
    )  # fmt: skip


def test_a_queued_job_waits_for_those_before_it() -> None:
    assert estimated_seconds(job(JobState.QUEUED), Pace(before=9, finished=20, seconds=60)) == 30


def test_without_a_pace_nothing_is_estimated() -> None:
    assert estimated_seconds(job(JobState.QUEUED), Pace(before=9, finished=1, seconds=0)) is None
    assert estimated_seconds(job(JobState.RUNNING), Pace(before=0, finished=9, seconds=9)) is None


def test_a_running_job_goes_on_as_it_went() -> None:
    running = job(JobState.RUNNING, done=30, total=90, started=NOW - timedelta(seconds=15))

    assert estimated_seconds(running, Pace(before=0, finished=0, seconds=0), now=NOW) == 30
