"""The local embedder: all-MiniLM-L6-v2 on onnxruntime, without torch."""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
TOKENS_PER_RUN = 512
"""Tokens of one run of the model, padding included: more gain nothing and fall out of a core's cache."""
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

    def __init__(
        self, session: onnxruntime.InferenceSession, tokenizer: str, *, batch_size: int, threads: int
    ) -> None:
        self._session = session
        self._batch_size = batch_size
        # Each run computes on one core. Runs side by side need no waiting for each other within every layer.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="onnx")
        self._whole = LocalTokenizer(tokenizer)
        self._windowed = Tokenizer.from_str(tokenizer)
        self._windowed.no_padding()
        self._windowed.enable_truncation(WINDOW)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector of length 1 per text, in the same order."""
        ids = [item.ids for item in self._windowed.encode_batch_fast(list(texts))]
        vectors = np.empty((len(ids), self.dimensions), dtype=np.float32)
        batches = list(self._batches([len(item) for item in ids]))
        inputs = [[ids[row] for row in rows] for rows in batches]
        runs = map(self._run, inputs) if len(inputs) < 2 else self._threads.map(self._run, inputs)
        for rows, output in zip(batches, runs, strict=True):
            vectors[rows] = output
        return vectors

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield the rows of each run: texts of like length together, so that little is spent on padding.

        The longest come first; the short ones at the end fill what the threads have left.
        """
        order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
        start = 0
        while start < len(order):
            size = min(self._batch_size, max(TOKENS_PER_RUN // lengths[order[start]], 1))
            yield order[start : start + size]
            start += size

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


def load_local_embedder(settings: EmbedderSettings, *, queries: bool = False) -> LocalEmbedder:
    """Return the local embedder; the first call on a machine prepares its graph (about two seconds).

    For `queries` the weights are rounded to eight bits: a vector (cosine above 0.999 to the exact one) then
    takes less than half the time, most of which goes into reading weights. Texts to be found are embedded
    exactly.

    Raises `ModelError` when the model's files are not the expected ones or the cache folder cannot be
    written.
    """
    tokenizer = read_tokenizer()
    name = f"{MODEL}-{DIGEST}-8bit.onnx" if queries else f"{MODEL}-{DIGEST}.onnx"
    path = settings.model_cache_dir / name
    if path.is_file():
        try:
            return _embedder(path, tokenizer, settings)
        except Exception:  # onnxruntime has no common error
            logger.warning(
                "the prepared model %s cannot be loaded and is prepared again", path, exc_info=True
            )
    prepare(path, model_file(WEIGHTS), eight_bits=queries)
    return _embedder(path, tokenizer, settings)


def prepare(path: Path, weights: Path, *, eight_bits: bool = False) -> None:
    """Build the graph from `weights` and put it at `path` in one step, so that readers see all of it or
    nothing.

    Processes that do this at the same time write the same bytes under names of their own; the last rename
    stays.
    """
    tensors = safetensors.numpy.load(read_checked(weights, WEIGHTS_SHA256))
    content = graph.build_graph(tensors, eight_bits=eight_bits).SerializeToString(deterministic=True)
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


def _embedder(path: Path, tokenizer: str, settings: EmbedderSettings) -> LocalEmbedder:
    threads = settings.embedder_threads or len(os.sched_getaffinity(0))
    return LocalEmbedder(_session(path), tokenizer, batch_size=settings.embedder_batch_size, threads=threads)


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
