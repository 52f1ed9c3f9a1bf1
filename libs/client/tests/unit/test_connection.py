"""Where commands connect to and with which key."""

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from libs.client.tests.http_server import Server

from quarry_client.cli import main
from quarry_client.cli.connection import Connection, Credentials, choose_connection, find_credentials
from quarry_client.errors import ClientError

Quarry = Callable[..., Result]
FOUND = Credentials("http://here:1", operator_key="operator", tenant_slug="main", api_key="own")


def write_credentials(folder: Path, text: str) -> None:
    (folder / "var").mkdir()
    (folder / "var" / "credentials.json").write_text(text)


def test_credentials_are_found_in_the_nearest_folder_above(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    write_credentials(tmp_path, '{"url": "http://outer:1"}')
    write_credentials(tmp_path / "a", '{"url": "http://inner:1", "api_key": "k"}')
    assert find_credentials(inner) == Credentials("http://inner:1", api_key="k")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 3}'])
def test_a_broken_credentials_file_is_told_with_its_path(tmp_path: Path, text: str) -> None:
    write_credentials(tmp_path, text)
    with pytest.raises(ClientError, match=r"credentials\.json cannot be read"):
        find_credentials(tmp_path)


def test_the_file_fills_what_was_not_given() -> None:
    assert choose_connection(None, None, None, FOUND) == Connection("http://here:1", "own")
    assert choose_connection(None, None, "main", FOUND) == Connection("http://here:1", "own")
    assert choose_connection(None, "given", None, FOUND) == Connection("http://here:1", "given")


def test_for_another_tenant_and_for_operators_the_operator_key_is_used() -> None:
    assert choose_connection(None, None, "other", FOUND) == Connection("http://here:1", "operator", "other")
    assert choose_connection(None, None, None, FOUND, operator=True).api_key == "operator"


def test_the_keys_of_the_file_go_to_no_other_address() -> None:
    with pytest.raises(click.UsageError, match="No API key"):
        choose_connection("http://elsewhere:1", None, None, FOUND)
    assert choose_connection("http://here:1/", None, None, FOUND).api_key == "own"


def test_commands_use_the_file_of_a_parent_folder(
    served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_credentials(tmp_path, json.dumps({"url": served.url, "api_key": "secret"}))
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    environment = dict.fromkeys(("QUARRY_URL", "QUARRY_API_KEY", "QUARRY_TENANT"))
    result = CliRunner().invoke(main, ["search", "x"], env=environment)
    assert (result.exit_code, result.stdout) == (0, "Nothing was found.\n")


def test_without_a_key_it_is_a_usage_error(quarry: Quarry) -> None:
    result = quarry("jobs", "list", env={"QUARRY_API_KEY": None})
    assert result.exit_code == 2
    assert "QUARRY_API_KEY" in result.stderr


def test_nobody_at_the_address_is_one_sentence_with_advice(quarry: Quarry) -> None:
    result = quarry("search", "x", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "Nothing answers at http://127.0.0.1:1" in result.stderr
    assert "quarry up" in result.stderr
