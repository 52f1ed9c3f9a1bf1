"""What answers `rpc.v1.search.*`."""

import asyncio

from quarry_common.contracts.search import Answer, Batch, Outcome, Outcomes, Query
from quarry_common.errors import QuarryError
from quarry_search.caching import CachedAnswers
from quarry_search.metrics import SEARCH_SECONDS, SEARCHES
from quarry_search.recording import Recorder
from quarry_search.searching import Searcher
from quarry_search.timings import Timings
from quarry_search.tuning import TuningSource


class Handlers:
    """Answers searches, one or several at once."""

    def __init__(
        self,
        searcher: Searcher,
        tunings: TuningSource,
        answers: CachedAnswers,
        recorder: Recorder | None = None,
        batch_concurrency: int = 8,
    ) -> None:
        """`recorder` is told what was answered."""
        self._searcher = searcher
        self._tunings = tunings
        self._answers = answers
        self._recorder = recorder
        self._batch_concurrency = batch_concurrency

    async def query(self, query: Query) -> Answer:
        """Return the passages that `query` finds, best first; raises `ValidationError`."""
        timings = Timings()
        outcome = "cancelled"
        try:
            answer = await self._answer(query, timings)
            outcome = "found" if answer.results else "nothing"
        except QuarryError as error:
            outcome = error.data.code
            raise
        except Exception:
            outcome = QuarryError.code
            raise
        finally:
            SEARCH_SECONDS.labels(query.mode.value).observe(timings.total_seconds())
            SEARCHES.labels(query.mode.value, outcome).inc()
        if self._recorder is not None and query.asker.recorded:
            self._recorder.note(query, answer, timings.total_seconds())
        return answer

    async def _answer(self, query: Query, timings: Timings) -> Answer:
        tuning = await self._tunings.of(query.tenant_id, query.filters)

        async def compute() -> Answer:
            return await self._searcher.search(query, timings, tuning)

        return await self._answers.get_or_compute(query, tuning.digest, timings, compute)

    async def batch(self, batch: Batch) -> Outcomes:
        """Return the answers of several searches; one that fails does not keep the others from theirs."""
        slots = asyncio.Semaphore(self._batch_concurrency)

        async def one(query: Query) -> Outcome:
            async with slots:
                try:
                    return Outcome(answer=await self.query(query))
                except QuarryError as error:
                    return Outcome(error=error.data)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(query)) for query in batch.queries]
        return Outcomes([task.result() for task in tasks])
