import asyncio
from pathlib import Path

import numpy as np
import pytest

from quarry_common.embedding.onnx import load_local_embedder
from quarry_common.embedding.pool import EmbedderPool
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.settings import load


async def test_the_loop_goes_on_while_the_model_runs(tmp_path_factory: pytest.TempPathFactory) -> None:
    cache: Path = tmp_path_factory.mktemp("models")
    embedder = load_local_embedder(
        load(EmbedderSettings, {"MODEL_CACHE_DIR": str(cache), "EMBEDDER_THREADS": "1"})
    )
    pool = EmbedderPool(embedder, max_waiting=100)
    texts = ["lift and drag of a wing " * 40] * 32
    loop = asyncio.get_running_loop()
    started = loop.time()
    task = asyncio.create_task(pool.embed(texts, deadline=started + 60))

    turns = 0
    while not task.done():
        turns += 1
        await asyncio.wait([task], timeout=0.005)
    elapsed = loop.time() - started

    # A loop that the model blocked would turn a handful of times: once per run.
    assert turns > elapsed / 0.05
    np.testing.assert_allclose(await task, embedder.embed(texts), atol=1e-5)
    await pool.close()
