"""One upload that is sent many times at once, as clients and proxies do that time out and try again."""

import asyncio
from uuid import uuid4

import httpx
import pytest
from tests.platform import Platform, Tenant

TIMES = 50
CONTENT = "The same letter, sent again and again because no answer came. " * 40


async def send(tenant: Tenant, key: str, kind: str) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    if kind == "file":
        files = {"file": ("letter.txt", CONTENT.encode(), "text/plain")}
        return await tenant.http.post("/api/documents", files=files, headers=headers)
    body = {"title": "Letter", "content": CONTENT}
    return await tenant.http.post("/api/documents", json=body, headers=headers)


@pytest.mark.parametrize("kind", ["file", "text"])
async def test_an_upload_sent_fifty_times_at_once_under_one_key_makes_one_document(
    kind: str, platform: Platform, tenant: Tenant
) -> None:
    key = str(uuid4())

    answers = await asyncio.gather(*(send(tenant, key, kind) for _ in range(TIMES)))

    first = answers[0]
    assert first.status_code == 202, first.text
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, first.content)}
    await tenant.succeeded(first.json()["job_id"])
    assert [str(each.id) for each in (await tenant.client.list_documents()).documents] == [
        first.json()["document_id"]
    ]
    assert len((await tenant.client.list_jobs()).jobs) == 1
    uploads = platform.layout.var / "blobs" / "tenants" / str(tenant.id) / "uploads"
    assert len([path for path in uploads.rglob("*") if path.is_file()]) == 1
    assert (await send(tenant, key, kind)).content == first.content
