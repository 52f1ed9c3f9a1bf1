"""What must be true of a tenant whatever happened meanwhile. Each check tells what is wrong, in sentences."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from quarry_common.contracts.documents import IndexReport

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
"""Of the superuser, who sees every tenant's rows."""

ENDS = {"succeeded": "completed", "failed": "failed", "cancelled": "cancelled"}
"""What is told of a job that ended in a state, once."""
_EMBEDDING = re.compile(r'"message": "embedding"[^}]*"texts": (\d+)')


async def jobs_not_ended_once(
    database: Connection, tenant_id: UUID, accepted: Collection[UUID] = ()
) -> list[str]:
    """Tell of jobs that are not over, that ended more than once, or of which something else was told; and of
    `accepted` ones that are not there.
    """
    rows = await database.fetch(
        """
        SELECT j.id, j.state, coalesce(o.told, '{}') AS told FROM indexer.jobs j
        LEFT JOIN (
            SELECT aggregate, array_agg(split_part(subject, '.', 5) ORDER BY id) AS told
            FROM indexer.outbox WHERE tenant_id = $1
              AND subject ~ '[.]job[.](completed|failed|cancelled)$'
            GROUP BY aggregate) o ON o.aggregate = j.id::text
        WHERE j.tenant_id = $1
        """,
        tenant_id,
    )
    wrong = [
        f"job {row['id']} is {row['state']} and was told to be {', '.join(row['told']) or 'nothing'}"
        for row in rows
        if row["told"] != [ENDS.get(row["state"])]
    ]
    missing = set(accepted) - {row["id"] for row in rows}
    return wrong + [f"job {job_id} was accepted and is not there" for job_id in missing]


async def documents_with_wrong_versions(database: Connection, tenant_id: UUID) -> list[str]:
    """Tell of living documents of which not exactly their current version is active."""
    rows = await database.fetch(
        """
        SELECT d.id, d.current_version, array_agg(v.version ORDER BY v.version)
            FILTER (WHERE v.state = 'active') AS active
        FROM indexer.documents d LEFT JOIN indexer.versions v ON v.document_id = d.id
        WHERE d.tenant_id = $1 AND d.deleted_at IS NULL GROUP BY d.id
        """,
        tenant_id,
    )
    return [
        f"document {row['id']}: current is {row['current_version']}, active are {row['active']}"
        for row in rows
        if (row["active"] or []) != [version for version in [row["current_version"]] if version is not None]
    ]


def index_not_equal(report: IndexReport) -> list[str]:
    """Tell how the vector index differs from Postgres."""
    wrong = [
        f"{getattr(report, kind)} points are {kind}"
        for kind in ("missing", "surplus", "hidden")
        if getattr(report, kind)
    ]
    if report.points != report.chunks:
        wrong.append(f"{report.points} points are found of {report.chunks} chunks")
    return wrong


def versions_seen_twice(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Tell of documents that one answer shows in two versions."""
    seen: dict[str, set[int]] = defaultdict(set)
    for result in results:
        seen[result["document_id"]].add(result["version"])
    return [
        f"an answer holds versions {sorted(versions)} of document {document_id}"
        for document_id, versions in seen.items()
        if len(versions) > 1
    ]


def embeddings_computed(logs: Sequence[Path]) -> int:
    """Return how many texts the embedder was given by processes that logged at DEBUG, also by killed ones."""
    texts = (path.read_text(errors="replace") for log in logs for path in log.parent.glob(f"{log.name}*"))
    return sum(int(count) for text in texts for count in _EMBEDDING.findall(text))


async def embeddings_needed(database: Connection) -> int:
    """Return how many different texts of tenants were embedded; one platform keeps all of them."""
    return int(await database.fetchval("SELECT count(*) FROM indexer.embeddings"))
