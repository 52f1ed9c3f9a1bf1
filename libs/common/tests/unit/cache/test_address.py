"""Addresses of Redis, and what a wrong one is told."""

import pytest

from quarry_common.cache.address import SentinelAddress, parse
from quarry_common.cache.settings import CacheSettings
from quarry_common.settings import SettingsError, load


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://:p@h:6380/2", "rediss://u:p@h:6379/0?health_check_interval=9"]
)
def test_a_server_is_itself(url: str) -> None:
    assert parse(url) == url


def test_sentinels() -> None:
    url = "redis+sentinel://us%3Aer:p%40ss@one:26380,two,[::1]:5/main/3?sentinel_password=s%20p"
    assert parse(url) == SentinelAddress(
        sentinels=(("one", 26380), ("two", 26379), ("::1", 5)),
        service="main",
        db=3,
        username="us:er",
        password="p@ss",
        sentinel_password="s p",
    )


def test_sentinels_without_login_and_with_tls() -> None:
    assert parse("rediss+sentinel://h/main") == SentinelAddress((("h", 26379),), "main", tls=True)


@pytest.mark.parametrize(
    "url",
    [
        "secret",
        "http://secret",
        "redis://",
        "redis://secret:99999",
        "redis://secret/db",
        "redis+sentinel://secret",
        "redis+sentinel:///secret",
        "redis+sentinel://secret:x/main",
        "redis+sentinel://u:secret@h:1/main/x",
        "redis+sentinel://h:1/main?secret=1",
        "redis+sentinel://[secret/main",
    ],
)
def test_a_wrong_one_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(CacheSettings, {"REDIS_URL": url})
    assert str(raised.value).startswith("REDIS_URL: ")
    assert "secret" not in str(raised.value)


def test_the_defaults_are_those_that_users_know() -> None:
    settings = load(CacheSettings, {})
    assert settings.cache_enabled
    assert settings.cache_prefix == "quarry:"
    assert settings.cache_max_memory_items == 10_000
    assert settings.cache_max_memory_bytes == 64 << 20
    assert settings.cache_default_ttl_seconds == 3600
    assert (settings.redis_timeout_seconds, settings.redis_connect_timeout_seconds) == (0.05, 0.25)


def test_a_prefix_may_hold_no_wildcard() -> None:
    with pytest.raises(SettingsError, match="CACHE_PREFIX"):
        load(CacheSettings, {"CACHE_PREFIX": "quarry*:"})
