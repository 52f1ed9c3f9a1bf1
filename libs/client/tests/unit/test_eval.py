"""`quarry eval`: reads judged collections, sends them, asks, and reports the measures."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from libs.client.tests.http_server import Server
from libs.client.tests.platform import Platform

from quarry_client.beir import read_collection
from quarry_client.cli.eval import collection_name
from quarry_client.errors import ClientError

Quarry = Callable[..., Result]
CORPUS = [
    {"_id": "d1", "title": "red fish", "text": "swims in the sea"},
    {"_id": "d2", "title": "", "text": "red stone lies on the ground"},
    {"_id": "d3", "title": "blue bird", "text": "flies"},
    {"_id": "d4", "title": " ", "text": ""},
]
QUERIES = [
    {"_id": "q1", "text": "red fish sea"},
    {"_id": "q2", "text": "blue"},
    {"_id": "q3", "text": "nobody judged this"},
    {"_id": "q4", "text": "judged, and nothing is relevant"},
]
QRELS = "q1\td1\t1\nq1\td2\t2\nq2\td3\t1\nq2\td9\t1\nq4\td1\t0\n"


def write(folder: Path, qrels: str, at: str = "qrels.tsv") -> Path:
    folder.mkdir(parents=True)
    for name, lines in (("corpus", CORPUS), ("queries", QUERIES)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "\n")
    (folder / at).parent.mkdir(exist_ok=True)
    (folder / at).write_text(qrels)
    return folder


@pytest.mark.parametrize("header", ["", "query-id\tcorpus-id\tscore\n"])
@pytest.mark.parametrize("at", ["qrels.tsv", "qrels/test.tsv"])
def test_judgements_are_read_with_or_without_header(tmp_path: Path, header: str, at: str) -> None:
    judged = read_collection(write(tmp_path / "c", header + QRELS, at))
    assert judged.judgements["q1"] == {"d1": 1, "d2": 2}
    assert [query.id for query in judged.queries] == ["q1", "q2"]
    assert judged.document_count == 3
    assert [document.id for document in judged.documents()] == ["d1", "d2", "d3"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("qrels.tsv", "q\td\t1\nq1 d1 1\n", r"qrels\.tsv, line 2"),
        ("qrels.tsv", "q1\td1\t1.5\nq1\td2\thigh\n", r"qrels\.tsv, line 2"),
        ("queries.jsonl", '{"_id": "q1", "text": "x"}\n{"_id": 3}\n', r"queries\.jsonl, line 2"),
        ("corpus.jsonl", "{\n", r"corpus\.jsonl, line 1"),
        ("qrels.tsv", "", "No query"),
    ],
)
def test_a_broken_file_is_told_with_its_line(tmp_path: Path, name: str, text: str, told: str) -> None:
    folder = write(tmp_path / "c", QRELS)
    (folder / name).write_text(text)
    with pytest.raises(ClientError, match=told):
        read_collection(folder)


def test_a_folder_without_the_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="cannot be read") as caught:
        read_collection(tmp_path)
    assert "corpus.jsonl" in caught.value.advice


def test_a_collection_is_sent_asked_and_measured(
    quarry: Quarry, tmp_path: Path, platform: Platform, served: Server
) -> None:
    folder = write(tmp_path / "My Set", QRELS)
    result = quarry("eval", folder, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)["figures"]
    assert [figure["mode"] for figure in figures] == ["hybrid", "semantic", "keyword"]
    # q1: d1 (grade 1) stands before d2 (grade 2); q2: d3 is found, d9 is not there.
    q1 = (1 + 2 / 1.5849625) / (2 + 1 / 1.5849625)
    q2 = 1 / (1 + 1 / 1.5849625)
    assert figures[0]["ndcg"] == pytest.approx((q1 + q2) / 2, abs=1e-6)
    assert figures[0]["recall_at_100"] == pytest.approx(0.75)
    assert (figures[0]["queries"], figures[0]["documents"]) == (2, 3)
    assert platform.collections == {"default", "my-set"}
    asked = [request.json() for request in served.received if request.path == "/api/search"]
    assert len(asked) == 6
    assert all(a["limit"] == 100 and a["group_by_document"] is True for a in asked)
    assert all(a["filters"] == {"collection": "my-set"} for a in asked)


def test_a_second_run_indexes_nothing_again(quarry: Quarry, tmp_path: Path, platform: Platform) -> None:
    folder = write(tmp_path / "c", QRELS)
    first = quarry("eval", folder, "--modes", "keyword", "--collection", "judged")
    jobs = len(platform.jobs)
    second = quarry("eval", folder, "--modes", "keyword", "--collection", "judged")
    assert jobs == len(platform.jobs) == 3
    assert first.stdout == second.stdout
    assert "nDCG@10" in first.stdout


def test_figures_are_not_given_when_a_document_is_missing(
    quarry: Quarry, tmp_path: Path, platform: Platform
) -> None:
    platform.refuse_jobs["d2"] = {
        "code": "empty",
        "status": 422,
        "detail": "No text.",
        "advice": "Write some.",
    }
    result = quarry("eval", write(tmp_path / "c", QRELS))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "1 of 3 documents" in result.stderr
    assert "d2: No text. (empty)" in result.stderr


def test_strangers_in_the_collection_are_told(quarry: Quarry, tmp_path: Path, platform: Platform) -> None:
    platform.documents["c", "stranger"] = b"red"
    result = quarry("eval", write(tmp_path / "c", QRELS), "--mode", "keyword")
    assert result.exit_code == 0
    assert "c holds 4 documents" in result.stderr


@pytest.mark.parametrize(
    ("folder", "name"),
    [("cranfield", "cranfield"), ("X (1).de", "x-1-de"), ("_", "eval"), ("a" * 80, "a" * 64)],
)
def test_a_folder_name_becomes_a_collection_name(tmp_path: Path, folder: str, name: str) -> None:
    assert collection_name(tmp_path / folder) == name
