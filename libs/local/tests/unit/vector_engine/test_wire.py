"""Bodies become plans of engine operations, or are refused before anything is applied."""

import msgspec
import pytest
import qdrant_edge as edge

from quarry_common.settings import load
from quarry_local.vector_engine.errors import FormatError, NotFoundError, WrongInputError
from quarry_local.vector_engine.optimisation.settings import OptimiserSettings
from quarry_local.vector_engine.routes import COLLECTION, ITEM, find
from quarry_local.vector_engine.shards.filters import edge_filter
from quarry_local.vector_engine.shards.operations import OPERATIONS
from quarry_local.vector_engine.shards.queries import query_request
from quarry_local.vector_engine.shards.schemas import edge_index, vector_schema
from quarry_local.vector_engine.shards.updates import PIECE, ByFilter, Change, plan
from quarry_local.vector_engine.shards.vectors import VectorSchema
from quarry_local.vector_engine.store import NAME, Store
from quarry_local.vector_engine.wire.base import decoded
from quarry_local.vector_engine.wire.collections import (
    CreateCollection,
    HnswConfig,
    IndexParams,
    merged,
)
from quarry_local.vector_engine.wire.filters import Filter
from quarry_local.vector_engine.wire.points import Batch, Point, Selector, SetPayload, Upsert
from quarry_local.vector_engine.wire.queries import Query

SCHEMA = VectorSchema(dense={"dense": 2}, sparse=frozenset({"bm25"}))


def points(count: int) -> list[Point]:
    return [Point(key, {"dense": [1.0, 2.0]}) for key in range(count)]


def decoded_filter(body: str) -> Filter:
    return msgspec.json.decode(body, type=Filter)


def test_a_large_upsert_becomes_small_operations() -> None:
    steps = plan(Upsert(points(2 * PIECE + 1)), "upsert", SCHEMA)

    assert [step.points for step in steps if isinstance(step, Change)] == [PIECE, PIECE, 1]


def test_an_upsert_that_is_wrong_at_its_end_has_no_plan() -> None:
    wrong = [*points(PIECE), Point(1, {"dense": [1.0]})]

    with pytest.raises(WrongInputError, match="expected dim: 2, got 1"):
        plan(Upsert(wrong), "upsert", SCHEMA)


def test_a_change_by_filter_is_decided_when_it_is_applied() -> None:
    wanted = decoded_filter('{"must":{"key":"a","match":{"value":1}}}')

    (step,) = plan(SetPayload({"b": 1}, filter=wanted), "set_payload", SCHEMA)

    assert isinstance(step, ByFilter)
    assert (step.by_ids([1, 2]).points, step.whole(7).points) == (2, 7)


def test_a_deletion_tells_how_many_points_it_deletes() -> None:
    wanted = decoded_filter('{"must":{"key":"a","match":{"value":1}}}')
    (by_filter,) = plan(Selector(filter=wanted), "delete", SCHEMA)
    (by_ids,) = plan(Selector(points=[1, 2, 3]), "delete", SCHEMA)

    assert isinstance(by_filter, ByFilter)
    assert isinstance(by_ids, Change)
    assert (by_ids.deleted, by_filter.whole(7).deleted, by_filter.by_ids([1]).deleted) == (3, 7, 1)


def test_points_are_chosen_by_ids_or_by_a_filter_but_not_both() -> None:
    for selector in (Selector(), Selector(points=[1], filter=Filter())):
        with pytest.raises(WrongInputError, match="exactly one of `points` and `filter`"):
            plan(selector, "delete", SCHEMA)


def test_a_batch_keeps_its_order_and_needs_one_operation_each() -> None:
    body = b'{"operations":[{"delete":{"points":[1]}},{"clear_payload":{"points":[2]}}]}'

    assert len(plan(msgspec.json.decode(body, type=Batch), "batch", SCHEMA)) == 2
    for wrong in (b"{}", b'{"delete":{"points":[1]},"clear_payload":{"points":[2]}}'):
        batch = msgspec.json.decode(b'{"operations":[' + wrong + b"]}", type=Batch)
        with pytest.raises(WrongInputError, match="exactly one"):
            plan(batch, "batch", SCHEMA)


def test_a_boolean_match_reaches_the_engine_as_a_boolean() -> None:
    built = edge_filter(decoded_filter('{"must":{"key":"a","match":{"value":true}}}'))

    assert built is not None
    assert built.must is not None
    (condition,) = built.must
    assert isinstance(condition, edge.FieldCondition)
    assert isinstance(condition.match, edge.MatchValue)
    assert condition.match.value is True


@pytest.mark.parametrize(
    "condition",
    [
        '{"key":"a"}',
        '{"key":"a","match":{"value":1},"range":{"gt":1}}',
        '{"key":"a","match":{"value":1,"any":[1]}}',
        '{"key":"a","match":{"value":"x","text":"y"}}',
        '{"key":"a","match":{"any":[1,"x"]}}',
        '{"key":"a","range":{"gt":1,"lt":"2024-01-01T00:00:00Z"}}',
        '{"has_id":[1],"key":"a"}',
        '{"match":{"value":1}}',
        '{"key":"a","is_empty":{"key":"b"}}',
        '{"has_id":[-1]}',
        "{}",
    ],
)
def test_an_ambiguous_condition_is_refused(condition: str) -> None:
    with pytest.raises(WrongInputError):
        edge_filter(decoded_filter(f'{{"must":[{condition}]}}'))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ('{"query":{"fusion":"rrf","nearest":[1,2]}}', "exactly one"),
        ('{"query":{"fusion":"rrf"}}', "without prefetches"),
        ('{"query":{"rrf":{"weights":[-1]}},"prefetch":{"query":[1,2],"using":"dense"}}', "negative"),
        ('{"query":{"fusion":"dbsf"},"using":"dense","prefetch":{}}', "`using` has no meaning"),
        ('{"using":"dense"}', "`using` has no meaning"),
        ('{"query":[1,2],"using":"dense","limit":9000,"offset":9000}', "together at most"),
        ('{"query":[1,2],"using":"dense","with_payload":{}}', "exactly one"),
    ],
)
def test_a_query_that_means_nothing_is_refused(query: str, says: str) -> None:
    with pytest.raises(WrongInputError, match=says):
        query_request(msgspec.json.decode(query, type=Query), SCHEMA)


def test_a_collections_vectors_are_one_unnamed_or_several_named() -> None:
    unnamed = CreateCollection(vectors={"size": 3, "distance": "Dot"})
    named = CreateCollection(vectors={"size": {"size": 3, "distance": "Dot"}})

    assert vector_schema(unnamed).dense == {"": 3}
    assert vector_schema(named).dense == {"size": 3}


def test_settings_of_another_index_type_are_refused() -> None:
    with pytest.raises(WrongInputError, match="no setting is_tenant"):
        edge_index(IndexParams("integer", is_tenant=True))


def test_a_change_of_settings_keeps_the_others() -> None:
    assert merged(HnswConfig(m=0, payload_m=16), HnswConfig(payload_m=8)) == HnswConfig(m=0, payload_m=8)


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "a\\b", "a\0", "ä", "a b", "n" * 129])
def test_a_collection_name_cannot_leave_its_folder(name: str) -> None:
    assert NAME.fullmatch(name) is None


def test_routes_are_found_by_method_and_path(tmp_path: object) -> None:
    store = Store(tmp_path, load(OptimiserSettings, {}))  # type: ignore[arg-type]

    route, target = find(store, "POST", "/collections/c/points/query", "wait=false&timeout=5")

    assert (route.name, target.collection, target.wait) == ("query", "c", False)
    assert find(store, "DELETE", "/collections/c/index/a.b/c", "")[1].item == "a.b/c"
    for method, path in (("PUT", "/collections"), ("GET", "/other"), ("PATCH", "/collections/c/points")):
        with pytest.raises(NotFoundError, match="no operation"):
            find(store, method, path, "")


def test_what_a_shard_is_asked_it_can_do_and_takes_a_body_when_there_is_one() -> None:
    whole = {f"{kind}_collection" for kind in ("get", "create", "update", "delete")}
    asked = {
        route.name: route.has_body
        for (_, path), route in (COLLECTION | ITEM).items()
        if path not in {"exists", "optimize"} and route.name not in whole
    }

    assert {name: OPERATIONS[name].body is not None for name in asked} == asked


@pytest.mark.parametrize("body", [b'{"surprise":1}', b"{", b"\xff"])
def test_a_body_that_is_not_what_it_should_be_is_refused(body: bytes) -> None:
    with pytest.raises(FormatError, match="JSON body"):
        decoded(msgspec.json.Decoder(Query), body)
