"""What no route lets an attacker ask for: each store's own check is asked directly, or after another failed."""

from pathlib import Path

import pytest
from tests.attack.conftest import Attacker, Victim
from tests.attack.judge import faults
from tests.attack.wire import request
from tests.platform import Platform, until

from quarry_common.contracts.documents import ACCEPT, Accept, BlobRef, DocumentFields
from quarry_common.errors import RemoteError


def files_of(platform: Platform, victim: Victim, kind: str) -> list[str]:
    """Return the paths of the victim's blobs that hold its secret."""
    root = Path(platform.layout.blobs)
    found = (root / "tenants" / str(victim.tenant.id) / kind).rglob("*")
    return [
        str(path.relative_to(root))
        for path in found
        if path.is_file() and victim.secret.encode() in path.read_bytes()
    ]


async def test_an_answer_that_is_cached_for_a_tenant_is_given_to_no_other(
    attacker: Attacker, victim: Victim
) -> None:
    body = {"query": f"The {victim.secret} of the house", "mode": "keyword"}

    async def cached() -> bool:
        answer = (await victim.tenant.http.post("/api/search", json=body)).json()
        assert victim.ids["document_id"] in {result["document_id"] for result in answer["results"]}
        return bool(answer["cache"] == "hit")

    await until(cached, 20, "the victim's answer is cached")
    await attacker.own.http.post("/api/search", json={**body, "query": "another"})
    answer = (await attacker.own.http.post("/api/search", json=body)).json()

    assert victim.ids["document_id"] not in {result["document_id"] for result in answer["results"]}


async def test_a_body_of_another_tenant_is_not_taken_in(
    platform: Platform, attacker: Attacker, victim: Victim
) -> None:
    (path,) = files_of(platform, victim, "uploads")
    asked = Accept(attacker.own.id, DocumentFields(title="Mine"), BlobRef(path, 1, "0" * 64, "mine.txt"))
    text = ""

    async with platform.rpc() as rpc:
        try:
            accepted = await rpc.call(ACCEPT, asked)
        except RemoteError as refused:
            assert refused.data.code == "not_found"
        else:
            await attacker.own.finished(accepted.job_id)
            answer = await attacker.own.http.get(f"/api/documents/{accepted.document_id}/content")
            text = answer.text

    assert victim.secret not in text


@pytest.mark.parametrize("part", ["content", "chunks"])
async def test_a_row_that_names_a_text_of_another_tenant_does_not_open_it(
    platform: Platform, attacker: Attacker, victim: Victim, part: str
) -> None:
    job = await attacker.own.put(f"{victim.secret}/{part}", "Mine. " * 20)
    (path,) = files_of(platform, victim, "texts")
    async with platform.database() as database:
        changed = await database.execute(
            "UPDATE indexer.versions SET text_path = $2 WHERE document_id = $1", job.document_id, path
        )
    assert changed == "UPDATE 1"

    key = {"x-api-key": attacker.own.key}
    answer = await attacker.host.send(request("GET", f"/api/documents/{job.document_id}/{part}", key))

    assert victim.secret not in answer.body.decode()
    assert not faults(answer, {404})
