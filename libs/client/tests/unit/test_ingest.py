"""`quarry ingest`: which files, under which ids, what is told, and that it can be repeated and stopped."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result
from libs.client.tests.http_server import Received, Reply, Server, problem, running_server
from libs.client.tests.platform import Platform

from quarry_client import Client
from quarry_client.cli.batching import FileSender, grouped
from quarry_client.cli.files import SourceFile, find_files

Quarry = Callable[..., Result]
UNSUPPORTED: dict[str, object] = {
    "code": "unsupported_format",
    "status": 415,
    "title": "Unsupported",
    "detail": "It is an image.",
    "advice": "Send text.",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    names = ("a.md", "sub/b.md", "sub/deep/c.txt", ".hidden", ".git/config", "sub/CVS/Entries", "sub/.env")
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"text of {name}")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "broken").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe")
    return root


def ids(root: Path, **options: object) -> list[str]:
    return [file.external_id for file in find_files([root], **options)]  # type: ignore[arg-type]


def test_hidden_files_version_control_links_to_folders_and_pipes_are_left_out(tree: Path) -> None:
    assert ids(tree) == ["a.md", "sub/b.md", "sub/deep/c.txt"]


def test_globs_choose_by_path_and_by_name(tree: Path) -> None:
    assert ids(tree, include=["*.md"]) == ["a.md", "sub/b.md"]
    assert ids(tree, include=["sub/*"]) == ["sub/b.md", "sub/deep/c.txt"]
    assert ids(tree, exclude=["deep"]) == ["a.md", "sub/b.md"]
    assert ids(tree, include=["*.md"], exclude=["sub/*"]) == ["a.md"]


def test_a_file_named_itself_goes_by_its_name_even_when_hidden(tree: Path) -> None:
    assert ids(tree / "sub" / "b.md") == ["b.md"]
    assert ids(tree / ".hidden", prefix="mine/") == ["mine/.hidden"]


def test_two_files_of_one_id_are_refused_before_anything_is_sent(tree: Path) -> None:
    (tree / "sub" / "a.md").write_text("another")
    with pytest.raises(click.UsageError, match=r"would both go by the id 'a\.md'"):
        find_files([tree, tree / "sub"])


def test_a_file_named_twice_is_taken_once(tree: Path) -> None:
    assert [file.external_id for file in find_files([tree, tree / "a.md"])] == [
        "a.md",
        "sub/b.md",
        "sub/deep/c.txt",
    ]


def test_a_name_that_is_no_utf8_gets_a_readable_id(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))).write_text("x")
    assert ids(tmp_path) == ["caf\\xe9.txt"]


def test_a_folder_is_sent_and_followed_until_it_can_be_found(
    quarry: Quarry, tree: Path, platform: Platform
) -> None:
    platform.collections.add("law")
    result = quarry("ingest", tree, "--collection", "law", "--tag", "t", "--metadata", "year=2024")
    assert result.exit_code == 0, result.output
    assert "3 files: 3 searchable" in result.stdout
    assert set(platform.documents) == {("law", name) for name in ("a.md", "sub/b.md", "sub/deep/c.txt")}
    assert json.loads(platform.documents["law", "sub/deep/c.txt"]) == {
        "external_id": "sub/deep/c.txt",
        "collection": "law",
        "content": "text of sub/deep/c.txt",
        "file_name": "c.txt",
        "media_type": "text/plain",
        "tags": ["t"],
        "metadata": {"year": 2024},
    }


def test_small_texts_of_a_folder_travel_together_as_bulk_and_the_rest_alone(
    quarry: Quarry, tree: Path, platform: Platform, served: Server
) -> None:
    others = {
        "large.txt": b"x" * (64 << 10), "latin.txt": b"caf\xe9", "nul.txt": b"a\0b", "blank.txt": b" \n",
        "empty.txt": b"", "bom.csv": b"\xef\xbb\xbfa,b\r\n", "page.html": "<p>ä</p>".encode(),
    }  # fmt: skip
    for name, body in others.items():
        (tree / name).write_bytes(body)

    result = quarry("ingest", tree, "--jobs", "1")

    assert "10 files: 10 searchable" in result.stdout, result.stdout
    (batch,) = [request for request in served.received if request.path == "/api/documents/batch"]
    together = {document["external_id"]: document for document in batch.json()["documents"]}  # type: ignore[attr-defined]
    assert set(together) == {"a.md", "sub/b.md", "sub/deep/c.txt", "bom.csv", "page.html"}
    assert together["bom.csv"]["content"].encode() == others["bom.csv"]
    assert together["bom.csv"]["media_type"] == "text/csv"
    alone = [request for request in served.received if request.method == "PUT"]
    assert {request.path.rpartition("/")[2] for request in alone} == set(others) - set(together)
    assert set(platform.priorities.values()) == {"bulk"}


def test_a_file_sent_alone_has_the_name_and_type_that_it_has_among_others(
    quarry: Quarry, tree: Path, served: Server
) -> None:
    quarry("ingest", tree / "a.md")

    (request,) = [request for request in served.received if request.method == "PUT"]
    assert b'filename="a.md"\r\nContent-Type: text/markdown\r\n' in request.body


def test_files_that_were_named_themselves_come_first(quarry: Quarry, tree: Path, platform: Platform) -> None:
    quarry("ingest", tree / "a.md", tree / "sub")
    assert platform.priorities == {"a.md": "interactive", "b.md": "bulk", "deep/c.txt": "bulk"}


def test_files_are_grouped_by_how_they_were_found_up_to_so_many_and_so_large(tmp_path: Path) -> None:
    def files(count: int, size_bytes: int, *, in_folder: bool = True) -> list[SourceFile]:
        made = [tmp_path / f"{size_bytes}-{in_folder}-{number}" for number in range(count)]
        for path in made:
            path.write_bytes(b"x" * size_bytes)
        return [SourceFile(path, path.name, in_folder=in_folder) for path in made]

    def sizes(found: list[SourceFile]) -> list[int]:
        return sorted(map(len, grouped(found)))

    assert sizes(files(230, 10)) == [30, 100, 100]
    assert sizes(files(60, 60_000)) == [26, 34]
    assert sizes([*files(3, 20), *files(2, 20, in_folder=False)]) == [2, 3]
    assert sizes([*files(3, 64 << 10), *files(3, (64 << 10) - 1)]) == [1, 1, 1, 3]
    assert sizes([SourceFile(tmp_path / "gone", "gone"), *files(2, 30)]) == [1, 2]


def test_many_small_texts_go_in_several_requests(quarry: Quarry, tmp_path: Path, served: Server) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(130):
        (many / f"{number:03}.txt").write_text(f"text {number}")

    assert "130 files: 130 searchable" in quarry("ingest", many).stdout

    batches = [request.json()["documents"] for request in served.received if request.path.endswith("/batch")]
    assert sorted(len(documents) for documents in batches if isinstance(documents, list)) == [30, 100]
    assert not served.paths("PUT")


@pytest.mark.parametrize(
    "refusal", [problem(413, "payload_too_large", "Too big."), problem(404, "not_found", "No such path.")]
)
def test_when_files_cannot_travel_together_they_go_alone(
    quarry: Quarry, tree: Path, platform: Platform, served: Server, refusal: Reply
) -> None:
    platform.refuse_batches = refusal
    assert "3 files: 3 searchable" in quarry("ingest", tree).stdout
    assert len(served.paths("PUT")) == 3


@pytest.mark.parametrize(
    "refusal",
    [
        problem(503, "unavailable", "Not now.", retry_after=0),
        problem(409, "idempotency_key_in_flight", "Not finished.", retry_after=0),
    ],
)
def test_a_file_that_a_failing_platform_left_out_is_sent_again_alone(
    quarry: Quarry, tree: Path, platform: Platform, served: Server, refusal: Reply
) -> None:
    platform.refuse_uploads["sub/b.md"] = refusal

    def recover(request: Received) -> Reply:
        if request.method == "PUT":
            platform.refuse_uploads.clear()
        return platform(request)

    served.answer = recover
    assert "3 files: 3 searchable" in quarry("ingest", tree).stdout
    assert served.paths("PUT") == ["/api/documents/by-external-id/sub/b.md"]


def test_a_document_sent_with_others_has_its_revision(tmp_path: Path, platform: Platform) -> None:
    files = [SourceFile(tmp_path / name, name, in_folder=True) for name in ("a.md", "b.md")]
    for file in files:
        file.path.write_text(file.external_id)

    def answer(request: Received) -> Reply:
        reply = platform(request)
        assert isinstance(reply.body, dict)
        reply.body["results"][0]["revision"] = 5
        return reply

    with running_server(answer) as server, Client(server.url, "secret") as client:
        reports = FileSender(client, "default", {}).send(files).reports

    assert [report.accepted.revision for report in reports if report.accepted] == [5, 0]


def test_to_repeat_is_a_no_op_and_a_change_is_seen(quarry: Quarry, tree: Path, platform: Platform) -> None:
    quarry("ingest", tree)
    jobs = len(platform.jobs)
    assert "3 files: 3 unchanged" in quarry("ingest", tree).stdout
    (tree / "a.md").write_text("changed")
    assert "1 searchable, 2 unchanged" in quarry("ingest", tree).stdout
    assert len(platform.jobs) == jobs + 1


def test_refusals_are_listed_with_advice_and_fail_only_when_strict(
    quarry: Quarry, tree: Path, platform: Platform
) -> None:
    platform.refuse_jobs["a.md"] = UNSUPPORTED
    platform.refuse_uploads["sub/b.md"] = problem(413, "payload_too_large", "Too big.", advice="Split it.")

    result = quarry("ingest", tree)

    assert result.exit_code == 0
    for told in (
        "unsupported_format",
        "It is an image. Send text.",
        "payload_too_large",
        "Too big. Split it.",
    ):
        assert told in result.stdout
    assert "1 searchable, 2 refused" in result.stdout
    assert quarry("ingest", tree, "--strict").exit_code == 1


def test_what_is_no_refusal_fails_the_command(quarry: Quarry, tree: Path, platform: Platform) -> None:
    platform.refuse_jobs["a.md"] = UNSUPPORTED | {"status": 500, "code": "internal_error"}
    result = quarry("ingest", tree, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["searchable"], told["failed"], told["refused"]) == (2, 1, 0)
    assert [(item["external_id"], item["code"]) for item in told["items"] if item["outcome"] == "failed"] == [
        ("a.md", "internal_error")
    ]


def test_many_files_are_followed_over_pages(quarry: Quarry, tmp_path: Path, platform: Platform) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(250):
        (many / f"{number:03}.txt").write_text(f"text {number}")
    platform.polls_until_done = 3
    result = quarry("ingest", many, "--jobs", "8")
    assert result.exit_code == 0
    assert "250 files: 250 searchable" in result.stdout


def test_without_waiting_it_ends_when_all_is_accepted(
    quarry: Quarry, tree: Path, platform: Platform, served: Server
) -> None:
    platform.polls_until_done = 10**9
    assert "3 files: 3 accepted" in quarry("ingest", tree, "--no-wait").stdout
    assert not [path for path in served.paths() if path.startswith("/api/jobs")]


def test_jobs_that_do_not_move_end_the_wait(quarry: Quarry, tree: Path, platform: Platform) -> None:
    platform.polls_until_done = 10**9
    result = quarry("ingest", tree / "a.md", "--stall-timeout", "1")
    assert result.exit_code == 1
    assert "not_finished" in result.stdout


def test_a_wrong_key_is_told_once(quarry: Quarry, tree: Path, served: Server) -> None:
    result = quarry("ingest", tree, "--api-key", "wrong")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "The key is not valid. (unauthenticated)" in result.stderr
    assert "Use another key." in result.stderr
    assert len(served.received) == 1


def test_a_quota_that_is_used_up_stops_the_run(quarry: Quarry, tree: Path, platform: Platform) -> None:
    platform.refuse_uploads["a.md"] = problem(429, "quota_exceeded", "10 of 10 documents.", advice="Ask.")
    result = quarry("ingest", tree, "--jobs", "1")
    assert result.exit_code == 1
    assert "2 accepted, 1 not sent" in result.stdout
    assert "10 of 10 documents." in result.stderr


def test_a_collection_that_is_not_there_is_told_before_anything_is_sent(quarry: Quarry, tree: Path) -> None:
    result = quarry("ingest", tree, "--collection", "none")
    assert result.exit_code == 1
    assert "quarry collections create none" in result.stderr


def test_an_empty_folder_is_told(quarry: Quarry, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = quarry("ingest", tmp_path / "empty")
    assert result.exit_code == 1
    assert "no files to ingest" in result.stderr


def test_a_file_that_cannot_be_read_fails_alone(
    quarry: Quarry, tree: Path, platform: Platform, served: Server
) -> None:
    def vanish(request: Received) -> Reply:
        (tree / "sub" / "b.md").unlink(missing_ok=True)
        return platform(request)

    served.answer = vanish
    result = quarry("ingest", tree, "--jobs", "1")
    assert result.exit_code == 1
    assert "unreadable_file" in result.stdout
    assert "2 searchable, 1 failed" in result.stdout


def test_ctrl_c_ends_soon_and_the_next_run_goes_on(
    quarry: Quarry, tree: Path, platform: Platform, served: Server, python: str
) -> None:
    stuck, release = threading.Event(), threading.Event()

    def hold_one_upload(request: Received) -> Reply:
        if request.path.endswith("/batch"):
            stuck.set()
            release.wait(60)
        return platform(request)

    served.answer = hold_one_upload
    arguments = [python, "-m", "quarry_client.cli", "ingest", str(tree), "--jobs", "1"]
    environment = os.environ | {"QUARRY_URL": served.url, "QUARRY_API_KEY": "secret"}
    with subprocess.Popen(
        arguments,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background may have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it takes no lock
    ) as process:
        if not stuck.wait(60):
            process.kill()
            pytest.fail(f"It never came to the upload: {process.communicate(timeout=20)}")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    release.set()

    assert process.returncode == 130
    assert "3 not sent" in output
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    served.answer = platform
    assert "3 files: " in quarry("ingest", tree).stdout
    assert len(platform.documents) == 3


@pytest.mark.timeout(60)  # a long run's patience is 180 s
def test_a_platform_that_is_not_there_is_told_without_the_patience_of_a_long_run(
    quarry: Quarry, tree: Path
) -> None:
    result = quarry("ingest", tree, "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "Nothing answers" in result.stderr


def test_a_platform_that_goes_away_for_a_while_is_waited_for(
    quarry: Quarry, tree: Path, platform: Platform, served: Server
) -> None:
    away = 3

    def come_back(request: Received) -> Reply:
        nonlocal away
        if request.path.endswith("/batch") and away:
            away -= 1
            return problem(503, "unavailable", "Not now.", retry_after=0)
        return platform(request)

    served.answer = come_back
    assert "3 files: 3 searchable" in quarry("ingest", tree).stdout
