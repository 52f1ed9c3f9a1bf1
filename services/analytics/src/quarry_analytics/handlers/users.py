"""What one user searched, and forgetting it."""

from quarry_analytics import asking
from quarry_analytics.domain.users import digest_of
from quarry_analytics.repository import reading, recording, users
from quarry_common.contracts.analytics import ForgetUser, UserForgotten, UserOf, UserReply
from quarry_common.errors import NotFoundError
from quarry_common.postgres.pool import Database


class UserHandlers:
    """Answers for single users of a tenant's application."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, asked: UserOf) -> UserReply:
        """Return what a user searched in a range. Raises `NotFoundError`."""
        selection = asked.selection
        async with asking.transaction(self._database, selection.tenant_id) as connection:
            _, clicks_since = await reading.refreshed(connection, selection.tenant_id)
            tally, queries = await asking.of_user(connection, selection, asked.user_id)
        if not queries:
            raise NotFoundError("Nothing is known of such a user in this range.")
        clicks = asking.tracked(clicks_since, selection.end)
        found = [query.figures(tracked=clicks) for query in queries.values()]
        found.sort(key=lambda each: (each.count, each.last_seen, each.query), reverse=True)
        return UserReply(
            user_id=asked.user_id,
            figures=tally.figures(tracked=clicks),
            first_seen=min(each.first_seen for each in found),
            last_seen=max(each.last_seen for each in found),
            queries=found[: asked.limit],
        )

    async def forget(self, asked: ForgetUser) -> UserForgotten:
        """Delete what is recorded of a user; what comes late of the time before is not written down either.

        Raises `NotFoundError` when nothing was recorded: what comes late is kept out all the same.
        """
        async with self._database.tenant_transaction(asked.tenant_id) as connection:
            await users.remember_forgotten(connection, asked.tenant_id, digest_of(asked.user_id))
            searches, interactions, days = await users.forget(connection, asked.tenant_id, asked.user_id)
            if days:
                await recording.mark(connection, {(asked.tenant_id, day) for day in days})
        if not searches and not interactions:
            raise NotFoundError("Nothing is known of such a user.")
        return UserForgotten(searches, interactions)
