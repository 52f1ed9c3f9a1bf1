"""What only one process of a service should do at a time: who does it holds a lease in Postgres."""

import time

from quarry_common.ids import new_id
from quarry_common.postgres.pool import Database


class Leadership:
    """This process's claim to one task, such as publishing the outbox.

    A process that dies or stands still loses it after `seconds`; until it notices, two may work at once, so
    the task must bear that.
    """

    def __init__(self, database: Database, task: str, *, seconds: float) -> None:
        self._database = database
        self._task = task
        self._seconds = seconds
        self._id = new_id()
        self._sure_until = 0.0
        """Monotonic time until which the lease need not be asked for: it goes on while the process stands
        still."""

    async def take(self) -> bool:
        """Take or renew the lease; return whether this process has it. Raises `UnavailableError`."""
        began = time.monotonic()
        if began < self._sure_until:
            return True
        async with self._database.worker_transaction() as connection:
            taken = await connection.fetchval(
                """
                INSERT INTO leaders (task, holder, leased_until)
                VALUES ($1, $2, now() + make_interval(secs => $3))
                ON CONFLICT (task) DO UPDATE
                    SET holder = EXCLUDED.holder, leased_until = EXCLUDED.leased_until
                    WHERE leaders.holder = EXCLUDED.holder OR leaders.leased_until < now()
                RETURNING 1
                """,
                self._task,
                self._id,
                self._seconds,
            )
        self._sure_until = began + self._seconds / 3 if taken is not None else 0.0
        return taken is not None

    async def give_back(self) -> None:
        """Let another process take over at once. Raises `UnavailableError`."""
        self._sure_until = 0.0
        async with self._database.worker_transaction() as connection:
            await connection.execute(
                "DELETE FROM leaders WHERE task = $1 AND holder = $2", self._task, self._id
            )
