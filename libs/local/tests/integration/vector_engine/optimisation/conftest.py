"""An engine that optimises only when it is asked to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from libs.local.tests.integration.vector_engine.conftest import Engine, running

from .runs import NO_BOUND, ONLY_WHEN_ASKED


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with running(tmp_path / "data", **ONLY_WHEN_ASKED, **NO_BOUND) as engine:
        yield engine
