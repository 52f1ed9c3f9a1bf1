"""An import that runs while one process after another is killed, restarted or stands still."""

import asyncio
import re
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from uuid import UUID

import httpx
import msgspec
import psutil
from tests.chaos import checks, faults
from tests.chaos.conftest import PARAGRAPH, Load
from tests.platform import Platform, Tenant, until

from quarry_common.contracts.documents import IndexReport

BATCH = 100
SENDERS = 4
EXTRA = 200
"""Documents sent at most until a certain indexer has work."""
ACCEPT_SECONDS = 300.0
TAKE_OVER_SECONDS = 55.0
FENCE_SECONDS = 60.0
FENCED = re.compile(r"\d+ jobs are no longer this worker's")
TRANSIENT = frozenset({429, 502, 503, 504})

_HELD_BY = """
SELECT id, lease_token FROM indexer.jobs j WHERE state = 'running' AND (
    SELECT line ->> 'message' FROM jsonb_array_elements(j.log) WITH ORDINALITY AS lines (line, place)
    WHERE line ->> 'message' ~ '^(begun|taken over) by ' ORDER BY place DESC LIMIT 1
) ~ ('-' || $1 || '(:|$)')
"""


class Text(msgspec.Struct, frozen=True):
    """A document of text, as a batch takes it."""

    external_id: str
    title: str
    content: str


def short(number: int, revision: int = 1) -> Text:
    """Return a document of one passage."""
    return Text(f"room-{number}", f"Room {number}", f"Room {number}, survey {revision}. {PARAGRAPH}")


def long(number: int, paragraphs: int) -> Text:
    """Return a document of many passages."""
    content = "\n\n".join(f"Hall {number}-{part}. {PARAGRAPH}" for part in range(paragraphs))
    return Text(f"hall-{number}", f"Hall {number}", content)


@dataclass
class Storm:
    """What is imported, what is done meanwhile, and how long it took to be over each."""

    platform: Platform
    load: Load
    """The tenant of the import, with its searches."""
    prober: Load
    """Another tenant, which tells whether the platform works."""
    second: psutil.Process
    """The indexer beside the supervised one."""
    accepted: set[UUID] = field(default_factory=set)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """How long it took until the platform worked again, by what was done to it."""
    open_jobs: list[int] = field(default_factory=list)
    """Jobs of the import that were open when something was done, in turn."""
    revisions: dict[int, int] = field(default_factory=dict)
    extra: Iterator[int] = field(default_factory=lambda: count(1000))
    """Numbers of long documents that are sent besides."""

    @property
    def tenant(self) -> Tenant:
        return self.load.tenant

    @property
    def logs(self) -> list[Path]:
        """Logs of both indexers."""
        return [self.platform.layout.log("indexer"), faults.second_log(self.platform, "indexer")]

    async def send(self, texts: Sequence[Text]) -> None:
        """Send texts in batches, each again until all of it is accepted."""
        parts = iter([texts[start : start + BATCH] for start in range(0, len(texts), BATCH)])

        async def sender() -> None:
            for part in parts:
                await self._send_batch(part)

        await asyncio.gather(*(sender() for _ in range(SENDERS)))

    async def send_files(self, files: Iterable[Path]) -> None:
        """Send files, each again until it is accepted."""
        left = iter(files)

        async def sender() -> None:
            for file in left:
                name = f"{file.parent.name}/{file.name}"
                self.accepted.add((await self.tenant.client.put_file(name, file)).job_id)

        await asyncio.gather(*(sender() for _ in range(SENDERS)))

    async def _send_batch(self, part: Sequence[Text]) -> None:
        body = msgspec.json.encode({"documents": part, "upsert": True})

        async def accepted() -> bool:
            try:
                answer = await self.tenant.http.post(
                    "/api/documents/batch", content=body, headers={"Content-Type": "application/json"}
                )
            except httpx.TransportError:
                return False
            assert answer.status_code == 202 or answer.status_code in TRANSIENT, answer.text
            if answer.status_code != 202:
                await asyncio.sleep(float(answer.headers.get("retry-after", 0)))
                return False
            results = answer.json()["results"]
            self.accepted |= {UUID(result["job_id"]) for result in results if result["status"] != "rejected"}
            refused = [result for result in results if result["status"] == "rejected"]
            assert all(result["error"]["status"] in TRANSIENT for result in refused), refused
            return not refused

        await until(accepted, ACCEPT_SECONDS, "a batch is accepted")

    async def revise(self, numbers: Iterable[int]) -> None:
        """Replace short documents by a next version, and search for them from now on."""
        for number in numbers:
            self.revisions[number] = self.revisions.get(number, 1) + 1
            text = short(number, self.revisions[number])
            done = await self.tenant.client.put_document(
                text.external_id, title=text.title, content=text.content
            )
            self.accepted.add(done.job_id)
            self.load.queries.append(f"Room {number} survey")

    async def end(self, kind: str, victim: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End a process; return when another is in its place and a document goes in and is found."""
        async with self.platform.database() as database:
            self.open_jobs.append(await self._open(database))
        begun = time.monotonic()
        await faults.end(self.platform, victim, number)
        await self.prober.probe(f"after-{victim}-{len(self.seconds[kind])}")
        self.seconds[kind].append(time.monotonic() - begun)

    async def freeze(self, process: psutil.Process, log: Path) -> None:
        """Let an indexer stand still until another has taken over from it, and wake it: it sees the fence."""
        since = log.stat().st_size
        async with self.platform.database() as database:
            self.open_jobs.append(await self._open(database))
            # Some of these it may have given up, as when Postgres was away: they run out unattended.
            earlier = frozenset((await self._held(process, database)).values())
            # Whichever indexer is quicker takes what there is: until it is this one, there is more.
            for _ in range(EXTRA):
                if await self._taken_over(process, database, earlier):
                    break
                await self.send([long(next(self.extra), 30)])
            else:
                raise AssertionError("there was no moment at which the indexer held jobs")
            begun = time.monotonic()

            async def fenced() -> bool:
                size = log.stat().st_size
                with log.open("rb") as file:
                    file.seek(since if size >= since else 0)
                    return FENCED.search(file.read().decode(errors="replace")) is not None

            await until(fenced, FENCE_SECONDS, "the woken worker sees that jobs are no longer its own")
            self.seconds["thaw, until the fence is seen"].append(time.monotonic() - begun)

    async def _held(
        self, process: psutil.Process, database: checks.Connection, besides: frozenset[UUID] = frozenset()
    ) -> dict[UUID, UUID]:
        """Return the lease token of each job that an indexer holds, `besides` left out."""
        rows = await database.fetch(_HELD_BY, str(process.pid))
        return {row["id"]: row["lease_token"] for row in rows if row["lease_token"] not in besides}

    async def _taken_over(
        self, process: psutil.Process, database: checks.Connection, earlier: frozenset[UUID]
    ) -> bool:
        """Let an indexer that works on jobs stand still until one is taken over; return whether one was.

        Those under a token of `earlier` do not count.
        """
        if not await self._held(process, database, earlier):
            return False
        with faults.frozen(process):
            begun = time.monotonic()
            # In the middle of a transaction it would hold its rows until Postgres ends that, after a minute.
            if await faults.in_transaction(process, database):
                return False
            if not (tokens := await self._held(process, database, earlier)):
                return False

            async def moved() -> list[UUID | None]:
                """Return the tokens of jobs that are no longer the indexer's; one that has ended has none."""
                rows = await database.fetch(
                    "SELECT id, lease_token FROM indexer.jobs WHERE id = ANY($1::uuid[])", list(tokens)
                )
                return [row["lease_token"] for row in rows if row["lease_token"] != tokens[row["id"]]]

            taken = any(await until(moved, TAKE_OVER_SECONDS, "another worker has taken over"))
            if taken:
                self.seconds["freeze, until taken over"].append(time.monotonic() - begun)
        return taken

    async def over(self, seconds: float) -> None:
        """Return when no job of the import is open."""
        async with self.platform.database() as database:

            async def ended() -> bool:
                return await self._open(database) == 0

            await until(ended, seconds, "every job is over")

    async def _open(self, database: checks.Connection) -> int:
        return int(
            await database.fetchval(
                "SELECT count(*) FROM indexer.jobs WHERE tenant_id = $1 AND state IN ('queued', 'running')",
                self.tenant.id,
            )
        )

    async def report(self) -> IndexReport:
        """Return what the platform tells its operator of the import's index."""
        async with self.platform.http(self.platform.operator_key, self.tenant.slug) as http:
            answer = await http.get("/api/admin/index", timeout=120)
            assert answer.status_code == 200, answer.text
            return msgspec.json.decode(answer.content, type=IndexReport)

    async def wrong(self) -> list[str]:
        """Tell what is wrong after all of it."""
        async with self.platform.database() as database:
            return [
                *self.load.seen_twice,
                *await checks.jobs_not_ended_once(database, self.tenant.id, self.accepted),
                *await checks.documents_with_wrong_versions(database, self.tenant.id),
                *checks.index_not_equal(await self.report()),
            ]

    async def ends(self) -> dict[str, int]:
        """Return how many jobs ended how; failed ones by the code of their error."""
        async with self.platform.database() as database:
            rows = await database.fetch(
                """
                SELECT CASE state WHEN 'failed' THEN error::jsonb ->> 'code' ELSE state END AS end, count(*)
                FROM indexer.jobs WHERE tenant_id = $1 GROUP BY 1 ORDER BY 2 DESC
                """,
                self.tenant.id,
            )
        return {row["end"]: row["count"] for row in rows}
