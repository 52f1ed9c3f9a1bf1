"""What the indexer knows of jobs."""

from uuid import UUID

import msgspec

from quarry_common.contracts import jobs as work
from quarry_common.errors import (
    ConflictError,
    ErrorData,
    NotFoundError,
    QuarryError,
)

from .answers import Answers


class Jobs:
    """Jobs, which go on each time they are looked at."""

    def __init__(self) -> None:
        self.jobs: dict[tuple[UUID, UUID], work.JobDetail] = {}
        self.job_outcome: work.JobState | None = work.JobState.SUCCEEDED
        self.job_reads = 0
        self.job_error = ErrorData("encrypted_file", 422, "The file is encrypted", "It asks for a password.")
        self.refuse_job: QuarryError | None = None

    def answers(self) -> Answers:
        return [
            (work.GET_JOB, self.get_job),
            (work.LIST_JOBS, self.list_jobs),
            (work.CANCEL_JOB, self.cancel_job),
            (work.RETRY_JOB, self.retry_job),
            (work.CANCEL_JOBS, self.change_jobs),
            (work.LIST_DEAD_LETTERS, self.list_dead_letters),
            (work.REPLAY_DEAD_LETTERS, self.change_jobs),
            (work.DISCARD_DEAD_LETTERS, self.change_jobs),
        ]

    async def get_job(self, asked: work.JobRef) -> work.JobDetail:
        self.job_reads += 1
        if self.refuse_job is not None:
            raise self.refuse_job
        job = self._job(asked.tenant_id, asked.job_id)
        if self.job_outcome is not None and not job.state.final:
            # Each look finds it one step further.
            state = work.JobState.RUNNING if job.state is work.JobState.QUEUED else self.job_outcome
            error = self.job_error if state is work.JobState.FAILED else None
            job = self.change(asked.tenant_id, job.id, state=state, error=error)
        return job

    def _job(self, tenant_id: UUID, job_id: UUID) -> work.JobDetail:
        job = self.jobs.get((tenant_id, job_id))
        if job is None:
            raise NotFoundError("There is no such job.")
        return job

    def change(self, tenant_id: UUID, job_id: UUID, **members: object) -> work.JobDetail:
        """Let a job go on; its revision grows."""
        job = self.jobs[tenant_id, job_id]
        changed = msgspec.structs.replace(job, revision=job.revision + 1, **members)
        self.jobs[tenant_id, job_id] = changed
        return changed

    async def list_jobs(self, asked: work.ListJobs) -> work.JobPage:
        found = [job for (tenant_id, _), job in self.jobs.items() if tenant_id == asked.tenant_id]
        return work.JobPage([job for job in found if asked.state in {None, job.state}][: asked.limit])

    async def cancel_job(self, asked: work.ChangeJob) -> work.Job:
        self._job(asked.tenant_id, asked.job_id)
        return self.change(asked.tenant_id, asked.job_id, state=work.JobState.CANCELLED)

    async def retry_job(self, asked: work.ChangeJob) -> work.Job:
        if not self._job(asked.tenant_id, asked.job_id).state.final:
            raise ConflictError("The job is not over.")
        return self.change(asked.tenant_id, asked.job_id, state=work.JobState.QUEUED)

    def _dead(self, tenant_id: UUID, wanted: work.JobFilter) -> list[work.Job]:
        return [
            job
            for (owner, _), job in self.jobs.items()
            if owner == tenant_id
            and job.state is work.JobState.FAILED
            and (wanted.job_ids is None or job.id in wanted.job_ids)
        ]

    async def list_dead_letters(self, asked: work.ListDeadLetters) -> work.JobPage:
        return work.JobPage(self._dead(asked.tenant_id, asked.filter)[: asked.limit])

    async def change_jobs(self, asked: work.ChangeJobs) -> work.JobsChanged:
        return work.JobsChanged(len(self._dead(asked.tenant_id, asked.filter)))
