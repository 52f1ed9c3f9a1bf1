"""Each store holds both tenants' things side by side; none of the other's comes out of any."""

from uuid import UUID

import pytest
from tests.attack.conftest import Attacker, Victim
from tests.platform import Platform, until

from quarry_client.types import MODES, Mode

WORDS = "The same words about a heron by the river stand in both."


@pytest.fixture
async def neighbours(attacker: Attacker, victim: Victim) -> tuple[str, str]:
    """Documents of the same words, one of each tenant's; the attacker's own and the victim's."""
    theirs = await victim.tenant.put(f"{victim.secret}/store", f"{WORDS} {victim.secret}", title="Heron")
    own = await attacker.own.put("store", WORDS, title="Heron")
    return str(own.document_id), str(theirs.document_id)


@pytest.mark.parametrize("mode", MODES)
async def test_the_index_finds_own_passages_alone(
    attacker: Attacker, victim: Victim, neighbours: tuple[str, str], mode: Mode
) -> None:
    own, theirs = neighbours

    for query in (WORDS, victim.secret):
        answer = await attacker.own.search(
            query, mode=mode, limit=100, facets=["collection"], explain=True, group_by_document=True
        )

        found = {str(result.document_id) for result in answer.results}
        assert theirs not in found
        assert victim.secret not in str(answer.results)
        assert {each.value for each in answer.facets["collection"]} <= {"default"}
        if query == WORDS:
            assert own in found


async def test_what_was_answered_to_one_is_not_answered_to_the_other(
    attacker: Attacker, victim: Victim, neighbours: tuple[str, str]
) -> None:
    _, theirs = neighbours
    query = f"heron by the river {victim.secret}"

    async def kept() -> bool:
        answer = await victim.tenant.search(query)
        assert theirs in {str(result.document_id) for result in answer.results}
        return answer.cache == "hit"

    await until(kept, 10, "the answer comes from the cache")

    answer = await attacker.own.search(query)

    assert theirs not in {str(result.document_id) for result in answer.results}
    assert victim.secret not in str(answer.results)


async def test_rows_of_the_database_are_own_ones(
    platform: Platform, attacker: Attacker, victim: Victim
) -> None:
    """As each service's login sees them in a transaction of the attacker's, whatever a statement forgets."""
    for service in ("indexer", "tenants"):
        login = platform.program(service).environ["DATABASE_URL"]
        async with platform.database(login) as connection:
            tables = await connection.fetch(
                """
                SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                WHERE c.relnamespace = $1::text::regnamespace AND c.relkind IN ('r', 'p') AND a.attname =
                'tenant_id' AND has_table_privilege(c.oid, 'SELECT')
                """,
                service,
            )
            seen = 0
            async with connection.transaction():
                await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(attacker.own.id))
                for table in tables:
                    owners = await connection.fetch(
                        f"SELECT DISTINCT tenant_id FROM {service}.{table['relname']}"
                    )
                    assert {row["tenant_id"] for row in owners} <= {attacker.own.id}, table["relname"]
                    seen += len(owners)
            assert seen


async def test_a_path_of_the_other_in_an_own_row_opens_nothing(
    platform: Platform, attacker: Attacker, victim: Victim, neighbours: tuple[str, str]
) -> None:
    """As if something had written the other's path there: the store's adapter is the last that can refuse
    it."""
    own, theirs = neighbours
    async with platform.database() as database:
        paths = {
            document: await database.fetchval(
                "SELECT text_path FROM indexer.versions WHERE document_id = $1", UUID(document)
            )
            for document in (own, theirs)
        }
        change = "UPDATE indexer.versions SET text_path = $2 WHERE document_id = $1"
        await database.execute(change, UUID(own), paths[theirs])
        try:
            content = await attacker.own.http.get(f"/api/documents/{own}/content")
            chunks = await attacker.own.http.get(f"/api/documents/{own}/chunks")
        finally:
            await database.execute(change, UUID(own), paths[own])

    for answer in (content, chunks):
        assert victim.secret not in answer.text
        assert answer.status_code == 404
    assert (await attacker.own.http.get(f"/api/documents/{own}/content")).text.strip().endswith(WORDS)
