"""The attacks notice a hole: with the tenant taken out of one store's adapter, each time some of them
succeed."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SUITE = HERE.parent / "attack" / "test_stores.py"
RUN_SECONDS = 100
EXPECTED = {
    "postgres": "test_rows_of_the_database_are_own_ones",
    "vectors": "test_the_index_finds_own_passages_alone",
    "cache": "test_what_was_answered_to_one_is_not_answered_to_the_other",
    "blobs": "test_a_path_of_the_other_in_an_own_row_opens_nothing",
}
"""What has to fail, by the store that is opened."""


@pytest.mark.timeout(RUN_SECONDS + 20)
@pytest.mark.parametrize("store", EXPECTED)
async def test_a_store_that_does_not_look_at_the_tenant_is_noticed(store: str) -> None:
    environ = {
        **os.environ,
        "QUARRY_TEST_HOLE": store,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE / "opened"), os.environ.get("PYTHONPATH", "")))),
    }
    pytest_run = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SUITE),
        env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=HERE.parents[1],
    )  # fmt: skip
    try:
        async with asyncio.timeout(RUN_SECONDS):
            output = (await pytest_run.communicate())[0].decode()
    finally:
        if pytest_run.returncode is None:
            pytest_run.terminate()
            await pytest_run.wait()

    failed = {re.sub(r"\[.*", "", name) for name in re.findall(r"^FAILED \S+::(\S+)", output, re.MULTILINE)}
    assert pytest_run.returncode == 1, output
    assert EXPECTED[store] in failed, output
    assert " error" not in output.splitlines()[-1], output
