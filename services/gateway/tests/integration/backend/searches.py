"""The search and analytics services as the gateway sees them."""

from quarry_common.contracts import (
    search,
)
from quarry_common.errors import (
    NotFoundError,
)
from quarry_common.ids import new_id

from .answers import Answers


class Searches:
    """Searches that find nothing."""

    def __init__(self) -> None:
        self.queries: list[search.Query] = []

    def answers(self) -> Answers:
        return [
            (search.QUERY, self.query),
            (search.BATCH, self.search_batch),
        ]

    async def query(self, asked: search.Query) -> search.Answer:
        self.queries.append(asked)
        return search.Answer(new_id(), asked.mode, asked.query, 0, [], {"total": 0.1})

    async def search_batch(self, asked: search.Batch) -> search.Outcomes:
        return search.Outcomes(
            [
                search.Outcome(error=NotFoundError("Nothing is called so.").data)
                if query.query == "fail"
                else search.Outcome(answer=await self.query(query))
                for query in asked.queries
            ]
        )
