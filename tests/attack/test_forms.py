"""Broken forms, and forms that lie."""

from collections.abc import Iterator

import pytest
from tests.attack.conftest import Attacker
from tests.attack.forms import FILE_NAMES, FORMS, TYPE, form, part
from tests.attack.judge import faults
from tests.attack.routes import WITH_BODY
from tests.platform import Platform

UPLOADS = [route for route in WITH_BODY if route.takes_files]
CASES = [pytest.param(*case, id=name) for name, case in FORMS.items()]


def blobs(platform: Platform) -> set[str]:
    return {str(path) for path in platform.layout.blobs.rglob("*") if path.is_file()}


@pytest.fixture
def nothing_is_left(platform: Platform) -> Iterator[None]:
    before = blobs(platform)
    yield
    assert not blobs(platform) - before


@pytest.mark.parametrize(("content_type", "body", "statuses"), CASES)
@pytest.mark.usefixtures("nothing_is_left")
async def test_no_upload_accepts(
    content_type: str, body: bytes, statuses: frozenset[int], attacker: Attacker
) -> None:
    wrong = {}
    for route in UPLOADS:
        headers = {"content-type": content_type}
        answer = await attacker.send(route.method, route.target(), body, headers, route=route)
        if found := faults(answer, statuses):
            wrong[str(route)] = found

    assert not wrong


@pytest.mark.parametrize(("name", "kept"), FILE_NAMES.values(), ids=FILE_NAMES)
async def test_a_file_name_leads_nowhere(
    name: str, kept: str, attacker: Attacker, platform: Platform
) -> None:
    before = blobs(platform)
    file = part(f'name="file"; filename="{name}"', b"A heron by the pond.", "Content-Type: text/plain")

    answer = await attacker.send("POST", "/api/documents?wait=searchable", form(file), {"content-type": TYPE})

    assert answer.status == 200, answer.body
    document = await attacker.own.client.get_document(answer.json["document_id"])
    assert document.file_name == kept
    root = f"{platform.layout.blobs}/tenants/{attacker.own.id}/"
    assert all(path.startswith(root) for path in blobs(platform) - before)


async def test_no_file_name_in_two_ways_gets_around_the_cleaning(attacker: Attacker) -> None:
    file = part('name="file"; filename="a.txt"; filename*=UTF-8\'\'..%2f..%2fetc%2fpasswd', b"A heron.")

    answer = await attacker.send("POST", "/api/documents", form(file), {"content-type": TYPE})

    assert answer.status in {202, 400}, answer.body
    if answer.status == 202:
        document = await attacker.own.client.get_document(answer.json["document_id"])
        assert document.file_name in {"a.txt", "passwd"}
