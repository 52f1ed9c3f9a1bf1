"""The `quarry` command against the whole platform."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.samples import SAMPLES
from tests.platform import Platform, Tenant

from quarry_local.servers.program import environment

Quarry = Callable[..., "subprocess.CompletedProcess[str]"]
QUARRY = Path(sys.executable).with_name("quarry")


@pytest.fixture
async def quarry(platform: Platform, tenant: Tenant, tmp_path: Path) -> Quarry:
    """Return a function that runs the command with the key of `tenant`."""
    environ = environment(QUARRY_URL=platform.url, QUARRY_API_KEY=tenant.key, COLUMNS="200")

    def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [QUARRY, *arguments],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of samples and of one file that no platform can take."""
    made = tmp_path / "files"
    for kind in ("pdf", "docx", "markdown", "japanese"):
        sample = SAMPLES[kind]
        path = made / kind / sample.file_name
        path.parent.mkdir(parents=True)
        path.write_bytes(sample.body)
    (made / "damaged.pdf").write_bytes(b"%PDF-1.7\nthis is none")
    return made


async def test_a_folder_is_ingested_and_repeating_it_changes_nothing(
    quarry: Quarry, folder: Path, tenant: Tenant
) -> None:
    first = quarry("ingest", folder, "--json")

    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert (told["files"], told["searchable"], told["refused"], told["failed"]) == (5, 4, 1, 0)
    refused = next(item for item in told["items"] if item["outcome"] == "refused")
    assert refused["external_id"] == "damaged.pdf"
    assert refused["code"]
    assert refused["advice"]
    versions = {d.external_id: d.latest_version for d in (await tenant.client.list_documents()).documents}

    again = json.loads(quarry("ingest", folder, "--json").stdout)

    assert (again["unchanged"], again["searchable"], again["failed"]) == (4, 0, 0)
    documents = (await tenant.client.list_documents()).documents
    found = {d.external_id: d.latest_version for d in documents if d.status == "searchable"}
    assert found == {name: version for name, version in versions.items() if name != "damaged.pdf"}
    assert set(found.values()) == {1}


async def test_a_search_shows_the_passage_and_where_it_stands(quarry: Quarry, folder: Path) -> None:
    quarry("ingest", folder)

    shown = quarry("search", SAMPLES["pdf"].sentence)
    assert shown.returncode == 0, shown.stderr
    assert "pdf/harbour.pdf" in shown.stdout
    assert "page 2" in shown.stdout
    told = json.loads(quarry("search", SAMPLES["docx"].sentence, "--json", "--limit", "1").stdout)
    assert [result["external_id"] for result in told["results"]] == ["docx/lease.docx"]


async def test_eval_measures_a_judged_collection(quarry: Quarry, tmp_path: Path) -> None:
    texts = {
        "d1": "The heart pumps blood through arteries.",
        "d2": "Volcanoes erupt molten rock and ash.",
        "d3": "A sonnet has fourteen lines and a strict rhyme.",
        "d4": "Arteries carry blood away from the heart.",
    }
    queries = {"q1": "blood vessels of the heart", "q2": "molten volcano ash", "q3": "poem of fourteen lines"}
    judged = {"q1": {"d1": 1, "d4": 2}, "q2": {"d2": 1}, "q3": {"d3": 1}}
    beir = tmp_path / "tiny"
    (beir / "qrels").mkdir(parents=True)
    (beir / "corpus.jsonl").write_text(
        "\n".join(json.dumps({"_id": name, "title": "", "text": text}) for name, text in texts.items())
    )
    (beir / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": name, "text": text}) for name, text in queries.items())
    )
    rows = [f"{query}\t{name}\t{grade}" for query, grades in judged.items() for name, grade in grades.items()]
    (beir / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))

    done = quarry("eval", beir, "--json")

    assert done.returncode == 0, done.stderr
    figures = {each["mode"]: each for each in json.loads(done.stdout)["figures"]}
    assert set(figures) == {"hybrid", "semantic", "keyword"}
    for each in figures.values():
        assert (each["collection"], each["documents"], each["queries"]) == ("tiny", 4, 3)
    assert figures["semantic"]["recall_at_100"] == 1.0
    assert figures["hybrid"]["ndcg"] > 0.9
    assert figures["keyword"]["ndcg"] > 0.6


async def test_a_wrong_key_is_told_in_one_sentence(platform: Platform, quarry: Quarry) -> None:
    done = quarry("search", "x", "--api-key", "qk_live_nonsense")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "key" in done.stderr
