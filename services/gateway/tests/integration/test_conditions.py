"""ETags, and changes that depend on them."""

import httpx
import pytest

from quarry_common.contracts.documents import Accept, Condition, DeleteDocument, PatchDocument

PLACE = "/api/documents/by-external-id/lease"


async def put(client: httpx.AsyncClient, content: str, **headers: str) -> httpx.Response:
    return await client.put(PLACE, json={"content": content}, headers=headers)


async def test_an_etag_is_the_revision_wherever_a_document_is_answered(client, backend) -> None:
    made = await put(client, "first")
    again = await put(client, "first")
    changed = await put(client, "the second")
    added = await client.post("/api/documents", json={"title": "x"})
    path = f"/api/documents/{made.json()['document_id']}"

    assert [answer.headers["etag"] for answer in (made, again, changed, added)] == [
        '"1"',
        '"1"',
        '"2"',
        '"1"',
    ]
    assert (await client.get(path)).headers["etag"] == (await client.get(PLACE)).headers["etag"] == '"2"'
    waited = await client.put(f"{PLACE}?wait=searchable", json={"content": "the third one"})
    assert (waited.status_code, waited.headers["etag"]) == (200, '"3"')
    assert (await client.patch(path, json={"tags": []})).headers["etag"] == '"4"'


@pytest.mark.parametrize(
    ("header", "revisions"),
    [
        ('"7"', [7]), ('"7", "8"', [7, 8]), ('"7","8"', [7, 8]), ("*", None),  ('"7" ,\t"8"', [7, 8]),
        ('W/"7"', []), ('"never-given"', []), ('W/"7", "9"', [9]), ('""', []), ('"' + "9" * 30 + '"', []),
    ],
)  # fmt: skip
async def test_if_match_names_the_revisions_that_may_be_changed(client, backend, header, revisions) -> None:
    document_id = (await put(client, "first")).json()["document_id"]
    backend.asked.clear()

    await put(client, "second", **{"If-Match": header})
    await client.patch(f"/api/documents/{document_id}", json={}, headers={"If-Match": header})
    await client.delete(f"/api/documents/{document_id}", headers={"If-Match": header})

    changes = [asked for asked in backend.asked if isinstance(asked, Accept | PatchDocument | DeleteDocument)]
    assert [asked.condition for asked in changes] == [Condition(revisions)] * 3


async def test_if_match_may_come_in_several_headers(client, backend) -> None:
    await put(client, "first")

    headers = [("If-Match", '"5"'), ("If-Match", '"1"'), ("Content-Type", "application/json")]
    answer = await client.put(PLACE, content=b'{"content": "second"}', headers=headers)

    assert answer.status_code == 202
    assert backend.accepted[-1].condition == Condition([5, 1])


async def test_if_none_match_asks_that_a_document_be_new(client, backend, stored) -> None:
    made = await put(client, "first", **{"If-None-Match": "*"})
    before = stored()
    again = await put(client, "second", **{"If-None-Match": "*"})

    assert (made.status_code, again.status_code) == (202, 412)
    assert again.json()["code"] == "precondition_failed"
    assert backend.accepted[0].condition == Condition(missing=True)
    assert stored() == before


async def test_a_change_of_another_revision_is_refused_and_leaves_nothing(client, stored) -> None:
    made = await put(client, "first")
    await put(client, "second text")
    path, stale = f"/api/documents/{made.json()['document_id']}", {"If-Match": made.headers["etag"]}
    before = stored()

    answers = [
        await put(client, "third", **stale),
        await client.patch(path, json={"tags": []}, headers=stale),
        await client.delete(path, headers=stale),
        await client.delete(PLACE, headers=stale),
    ]

    assert [answer.status_code for answer in answers] == [412] * 4
    assert stored() == before
    assert (await client.get(path)).headers["etag"] == '"2"'


async def test_without_a_condition_anything_may_be_changed(client, backend) -> None:
    await put(client, "first")
    await client.delete(PLACE)

    assert backend.accepted[0].condition is None
    assert backend.asked[-1].condition is None


@pytest.mark.parametrize(
    "header",
    [
        "7", "'7'", '"7', '"7" "8"', '"7",', ",", "", "null", "*, *", '*, "7"', 'w/"7"', '"a b"',
        ", ".join(['"1"'] * 101),
    ],
)  # fmt: skip
async def test_a_malformed_if_match_is_told_with_what_to_do(client, backend, header) -> None:
    for answer in (
        await put(client, "x", **{"If-Match": header}),
        await client.delete(PLACE, headers={"If-Match": header}),
    ):
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["If-Match"]
        assert "quotes" in answer.json()["advice"]
    assert backend.accepted == []


async def test_if_none_match_is_a_star_and_stands_alone(client, backend) -> None:
    tagged = await put(client, "x", **{"If-None-Match": '"7"'})
    both = await put(client, "x", **{"If-None-Match": "*", "If-Match": '"7"'})

    for answer in (tagged, both):
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["If-None-Match"]
    assert backend.accepted == []
