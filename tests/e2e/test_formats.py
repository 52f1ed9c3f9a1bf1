"""A file of each kind goes in over HTTP; a sentence quoted from it is the first hit, with where it stands."""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from tests.e2e.samples import SAMPLES
from tests.platform import Platform, Tenant

from quarry_client.types import Mode

REFUSED = {
    "empty": ("empty.txt", b"", 422),
    "broken_pdf": ("broken.pdf", b"%PDF-1.7\n" + b"\0garbage" * 50, 422),
    "unknown": ("archive.bin", bytes(range(256)) * 8, 415),
}


@pytest.fixture(scope="module")
async def library(platform: Platform) -> AsyncIterator[Tenant]:
    """Yield a tenant that has all samples, sent as multipart."""
    async with platform.tenant() as tenant:

        async def send(kind: str) -> None:
            sample = SAMPLES[kind]
            answer = await tenant.http.post(
                "/api/documents",
                files={"file": (sample.file_name, sample.body)},
                data={"external_id": kind, "tags": json.dumps(["sample"])},
            )
            assert answer.status_code == 202, answer.text
            await tenant.succeeded(UUID(answer.json()["job_id"]))

        await asyncio.gather(*map(send, SAMPLES))
        yield tenant


@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
@pytest.mark.parametrize("kind", SAMPLES)
async def test_a_quoted_sentence_is_the_first_hit(kind: str, mode: Mode, library: Tenant) -> None:
    sample = SAMPLES[kind]

    answer = await library.search(sample.sentence, mode=mode)

    first = answer.results[0]
    assert first.external_id == kind
    assert first.page == sample.page
    assert sample.heading in ("", *first.heading_path)
    assert first.tags == ["sample"]
    words = "".join(sample.sentence.split())
    assert words in "".join(first.text.split()) or kind == "csv"


async def test_text_sent_as_json_is_found_under_its_heading(tenant: Tenant) -> None:
    content = "# Galley\n\nSoup is served at six.\n\n# Bridge\n\nThe second mate keeps the midnight watch.\n"
    body = {"title": "Ship's routine", "content": content, "doc_type": "markdown", "metadata": {"deck": 3}}

    answer = await tenant.http.post("/api/documents", json=body, params={"wait": "searchable"})

    assert answer.status_code == 200, answer.text
    first = (await tenant.search("The second mate keeps the midnight watch.")).results[0]
    assert first.title == "Ship's routine"
    assert first.heading_path[-1] == "Bridge"
    assert first.metadata == {"deck": 3}
    assert first.doc_type == "markdown"


async def test_a_title_without_text_is_found(tenant: Tenant) -> None:
    answer = await tenant.http.post(
        "/api/documents", json={"title": "Zanzibar expedition ledger"}, params={"wait": "searchable"}
    )

    assert answer.status_code == 200, answer.text
    assert (await tenant.search("Zanzibar")).results[0].title == "Zanzibar expedition ledger"


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_file_that_cannot_be_read_ends_in_an_error_that_says_what_to_do(
    kind: str, tenant: Tenant
) -> None:
    name, body, status = REFUSED[kind]

    sent = await tenant.http.post("/api/documents", files={"file": (name, body)})

    if sent.status_code == 202:
        job = await tenant.finished(UUID(sent.json()["job_id"]))
        assert job.state == "failed"
        assert job.error is not None
        assert (job.error.status, bool(job.error.code), bool(job.error.detail), bool(job.error.advice)) == (
            status,
            True,
            True,
            True,
        )
        documents = (await tenant.client.list_documents(status="failed")).documents
        assert [document.id for document in documents] == [job.document_id]
    else:
        assert sent.status_code == status
        problem = sent.json()
        assert problem["code"]
        assert problem["advice"]
    assert (await tenant.search("garbage")).results == []
