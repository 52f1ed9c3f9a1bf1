from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr

from quarry_common.settings import PostgresSettings, ProcessSettings, Settings, SettingsError, load


class Wanted(PostgresSettings):
    needed: str
    key: SecretStr | None = None
    number: Annotated[int, Field(ge=1, le=9)] = 5


def test_values_come_from_variables_of_their_name() -> None:
    settings = load(Wanted, {"NEEDED": "x", "NUMBER": "7", "UNKNOWN": "ignored"})

    assert (settings.needed, settings.number) == ("x", 7)


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert load(Wanted, {"NEEDED": "x", "NUMBER": ""}).number == 5


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("postgresql://u:p@h/d\n")

    settings = load(Wanted, {"NEEDED": "x", "DATABASE_URL_FILE": str(file)})

    assert settings.database_url.get_secret_value() == "postgresql://u:p@h/d"
    assert "p@h" not in repr(settings)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"DATABASE_URL_FILE names .*/none, which cannot be read: No such file"
    ):
        load(Wanted, {"NEEDED": "x", "DATABASE_URL_FILE": str(tmp_path / "none")})


def test_every_wrong_variable_is_named_with_what_it_holds() -> None:
    with pytest.raises(SettingsError) as caught:
        load(Wanted, {"NEEDED": "x", "NUMBER": "many", "DATABASE_POOL_SIZE": "0"})

    assert "NUMBER: input should be a valid integer" in str(caught.value)
    assert "(it is 'many')" in str(caught.value)
    assert "DATABASE_POOL_SIZE: input should be greater than or equal to 2" in str(caught.value)


def test_what_is_wrong_ends_where_the_advice_begins() -> None:
    with pytest.raises(SettingsError) as caught:
        load(Wanted, {"NEEDED": "x", "NUMBER": "many"})

    assert f"{caught.value.data.detail} {caught.value.data.advice}".count("(it is 'many'). Correct the") == 1


def test_a_missing_variable_does_not_show_the_others() -> None:
    with pytest.raises(SettingsError, match="NEEDED: field required") as caught:
        load(Wanted, {"DATABASE_URL": "postgresql://u:hunter2@h/d", "KEY": "hunter3"})

    assert "hunter" not in str(caught.value)


def test_a_wrong_secret_is_not_shown() -> None:
    class Short(Settings):
        key: Annotated[SecretStr, Field(min_length=20)]
        other: Annotated[SecretStr, Field(min_length=20)] | None = None

    with pytest.raises(SettingsError) as caught:
        load(Short, {"KEY": "hunter2", "OTHER": "hunter3"})

    assert "KEY: " in str(caught.value)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(("level", "name"), [("debug", "DEBUG"), ("INFO", "INFO"), ("Warning", "WARNING")])
def test_a_log_level_may_be_written_small(level: str, name: str) -> None:
    assert load(ProcessSettings, {"LOG_LEVEL": level}).log_level == name


def test_an_unknown_log_level_is_refused() -> None:
    with pytest.raises(SettingsError, match="LOG_LEVEL: input should be 'DEBUG', 'INFO'"):
        load(ProcessSettings, {"LOG_LEVEL": "loud"})
