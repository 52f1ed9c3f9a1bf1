"""Graded nDCG@10 of keyword, semantic and hybrid ranking by exact search with the product's own code.

    python benchmarks/quality/measure.py DIR/cranfield,DIR/medlars DIR/xquad-hi

Each argument is one tenant: folders in BEIR layout (corpus.jsonl, queries.jsonl, qrels.tsv), loaded together.
Documents are cut and embedded as the indexer does it, queries as the search service does.
IDF is taken as Qdrant takes it, over all chunks of the tenant. A document's score is that of its best chunk.
`quarry eval` measures the same over the API of a running platform.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytrec_eval
from numpy.typing import NDArray

from quarry_common.embedding.bm25 import encode_document, encode_query
from quarry_common.embedding.load import load_embedder
from quarry_common.embedding.protocol import Embedder
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.settings import load
from quarry_common.vectors import feedback
from quarry_common.vectors.fusion import LEG_LIMIT, FusionWeights, fuse, fusion_weights
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.chunking.chunker import chunk_document
from quarry_indexer.domain.passage import embedded_text
from quarry_indexer.parsing.document import ParsedDocument
from quarry_indexer.parsing.extract import titled_document

DOCUMENTS = 100

Ranking = list[tuple[int, float]]


class Tenant(msgspec.Struct, frozen=True):
    owners: list[tuple[str, str]]
    """Collection and document id of each chunk."""
    dense: NDArray[np.float32]
    postings: dict[int, list[tuple[int, float]]]
    """Term id to chunks and weights."""


def read_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_judgements(folder: Path) -> dict[str, dict[str, int]]:
    judgements: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        judgements.setdefault(query, {})[document] = int(grade)
    return judgements


def chunks(embedder: Embedder, title: str, text: str) -> list[str]:
    parsed = ParsedDocument(text, "text", "text/plain") if text.strip() else titled_document(title)
    return [
        embedded_text(title, chunk.heading_path, parsed.text[chunk.char_start : chunk.char_end])
        for chunk in chunk_document(parsed, ChunkOptions(), embedder)
    ]


def load_tenant(embedder: Embedder, folders: Sequence[Path]) -> Tenant:
    texts: list[str] = []
    owners: list[tuple[str, str]] = []
    for folder in folders:
        for document in read_lines(folder / "corpus.jsonl"):
            for chunk in chunks(embedder, document["title"], document["text"]):
                texts.append(chunk)
                owners.append((folder.name, document["_id"]))
    postings: dict[int, list[tuple[int, float]]] = {}
    for row, text in enumerate(texts):
        vector = encode_document(text)
        for term, weight in zip(vector.indices, vector.values, strict=True):
            postings.setdefault(term, []).append((row, weight))
    return Tenant(owners, embedder.embed(texts), postings)


def sparse_leg(tenant: Tenant, query: str) -> Ranking:
    scores = np.zeros(len(tenant.owners))
    for term in encode_query(query).indices:
        posting = tenant.postings.get(term, [])
        idf = np.log((len(scores) - len(posting) + 0.5) / (len(posting) + 0.5) + 1)
        for row, weight in posting:
            scores[row] += idf * weight
    return [(row, score) for row, score in top(scores) if score > 0]


def top(scores: NDArray[np.floating]) -> Ranking:
    rows = np.argsort(-scores, kind="stable")[:LEG_LIMIT]
    return [(int(row), float(scores[row])) for row in rows]


def hybrid(
    tenant: Tenant, weights: FusionWeights, vector: NDArray[np.float32], dense: Ranking, sparse: Ranking
) -> Ranking:
    fused = fuse(weights, dense, sparse)
    first = fused[: feedback.PASSAGES]
    if not sparse or not feedback.helps(weights, [score for _, score in first]):
        return fused
    words = {row: score / sparse[0][1] for row, score in sparse}
    rows = [row for row, _ in first]
    scores = feedback.scored(weights, vector, tenant.dense[rows], [words.get(row, 0.0) for row in rows])
    seen = [*zip(rows, scores, strict=True), *fused[feedback.PASSAGES :]]
    return sorted(seen, key=lambda found: -found[1])


def best_documents(tenant: Tenant, collection: str, ranking: Ranking) -> dict[str, float]:
    documents: dict[str, float] = {}
    for row, score in ranking:
        owner, document = tenant.owners[row]
        documents.setdefault(document if owner == collection else f"{owner}/{document}", score)
    return dict(list(documents.items())[:DOCUMENTS])


def measure(asking: Embedder, tenant: Tenant, folder: Path) -> dict[str, float]:
    judgements = read_judgements(folder)
    queries = [query for query in read_lines(folder / "queries.jsonl") if query["_id"] in judgements]
    vectors = asking.embed([query["text"] for query in queries])
    runs: dict[str, dict[str, dict[str, float]]] = {"keyword": {}, "semantic": {}, "hybrid": {}}
    for query, vector in zip(queries, vectors, strict=True):
        dense = top(tenant.dense @ vector)
        sparse = sparse_leg(tenant, query["text"])
        legs = {
            "keyword": sparse,
            "semantic": dense,
            "hybrid": hybrid(tenant, fusion_weights(query["text"]), vector, dense, sparse),
        }
        for mode, ranking in legs.items():
            runs[mode][query["_id"]] = best_documents(tenant, folder.name, ranking)
    evaluator = pytrec_eval.RelevanceEvaluator(judgements, {"ndcg_cut.10"})
    return {
        mode: sum(item["ndcg_cut_10"] for item in evaluator.evaluate(run).values()) / len(queries)
        for mode, run in runs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tenants", nargs="+", help="folders of one tenant, separated by commas")
    arguments = parser.parse_args()
    settings = load(EmbedderSettings)
    embedder, asking = load_embedder(settings), load_embedder(settings, queries=True)
    print(f"{'collection':<14}{'keyword':>9}{'semantic':>9}{'hybrid':>9}")
    for names in arguments.tenants:
        folders = [Path(name) for name in names.split(",")]
        tenant = load_tenant(embedder, folders)
        for folder in folders:
            result = measure(asking, tenant, folder)
            print(f"{folder.name:<14}" + "".join(f"{value:>9.4f}" for value in result.values()), flush=True)


if __name__ == "__main__":
    main()
