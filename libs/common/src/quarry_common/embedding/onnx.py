"""The local embedder: all-MiniLM-L6-v2 on onnxruntime, without torch."""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import safetensors.numpy
from tokenizers import Tokenizer

from quarry_common.embedding import graph
from quarry_common.embedding.model_files import (
    TOKENIZER_SHA256,
    WEIGHTS,
    WEIGHTS_SHA256,
    ModelError,
    model_file,
    read_checked,
)
from quarry_common.embedding.protocol import Vectors
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.embedding.tokenizer import LocalTokenizer, read_tokenizer

logger = logging.getLogger(__name__)

MODEL = "all-MiniLM-L6-v2"
WINDOW = 256
"""Tokens of one run, [CLS] and [SEP] included: the length that the model was trained with."""
SPECIAL_TOKENS = 2
RECIPE = f"bert;mean;l2;window={WINDOW};graph=1"
"""Everything besides weights and tokenizer that shapes a vector; a change makes another embedder id."""
DIGEST = hashlib.sha256(f"{WEIGHTS_SHA256};{TOKENIZER_SHA256};{RECIPE}".encode()).hexdigest()[:8]


class LocalEmbedder:
    """Runs the graph on this machine's processor. Safe to call from several threads."""

    id = f"{MODEL}@{DIGEST}"
    dimensions = graph.DIMENSIONS
    max_tokens = WINDOW - SPECIAL_TOKENS

    def __init__(self, session: onnxruntime.InferenceSession, tokenizer: str, batch_size: int) -> None:
        self._session = session
        self._batch_size = batch_size
        self._whole = LocalTokenizer(tokenizer)
        self._windowed = Tokenizer.from_str(tokenizer)
        self._windowed.no_padding()
        self._windowed.enable_truncation(WINDOW)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector of length 1 per text, in the same order."""
        ids = [item.ids for item in self._windowed.encode_batch_fast(list(texts))]
        # Texts of like length run together, so that little is spent on padding.
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        vectors = np.empty((len(ids), self.dimensions), dtype=np.float32)
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            vectors[rows] = self._run([ids[row] for row in rows])
        return vectors

    def _run(self, batch: list[list[int]]) -> Vectors:
        length = max(len(ids) for ids in batch)
        input_ids = np.zeros((len(batch), length), dtype=np.int32)
        mask = np.zeros_like(input_ids)
        for row, ids in enumerate(batch):
            input_ids[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        output = self._session.run(["embedding"], {"input_ids": input_ids, "attention_mask": mask})[0]
        return np.asarray(output, dtype=np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each whole text has, without special tokens."""
        return self._whole.count_tokens(texts)

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Return the start and end of every token of the whole text, in characters."""
        return self._whole.token_offsets(text)


def load_local_embedder(settings: EmbedderSettings) -> LocalEmbedder:
    """Return the local embedder; the first call on a machine prepares its graph (about two seconds).

    Raises `ModelError` when the model's files are not the expected ones or the cache folder cannot be
    written.
    """
    tokenizer = read_tokenizer()
    path = settings.model_cache_dir / f"{MODEL}-{DIGEST}.onnx"
    threads = settings.embedder_threads or len(os.sched_getaffinity(0))
    if path.is_file():
        try:
            return LocalEmbedder(_session(path, threads), tokenizer, settings.embedder_batch_size)
        except Exception:  # onnxruntime has no common error
            logger.warning(
                "the prepared model %s cannot be loaded and is prepared again", path, exc_info=True
            )
    prepare(path, model_file(WEIGHTS))
    return LocalEmbedder(_session(path, threads), tokenizer, settings.embedder_batch_size)


def prepare(path: Path, weights: Path) -> None:
    """Build the graph from `weights` and put it at `path` in one step, so that readers see all of it or
    nothing.

    Processes that do this at the same time write the same bytes under names of their own; the last rename
    stays.
    """
    tensors = safetensors.numpy.load(read_checked(weights, WEIGHTS_SHA256))
    content = graph.build_graph(tensors).SerializeToString(deterministic=True)
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            if temporary:
                Path(temporary).unlink()
        raise ModelError(
            f"The prepared model cannot be written to {path}: {error.strerror}",
            advice="Set MODEL_CACHE_DIR to a folder that can be written and has 100 MB free.",
        ) from error


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads burn the cores that other services need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
