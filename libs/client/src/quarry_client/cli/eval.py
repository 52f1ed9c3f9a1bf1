"""`quarry eval`: how good search is on collections that people have judged."""

import re
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from quarry_client.beir import CorpusDocument, JudgedCollection, JudgedQuery, read_collection
from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.ingestion import Outcome, Report, ensure_collection, ingest_items
from quarry_client.cli.output import notices, print_json, print_table
from quarry_client.cli.parallel import run_parallel
from quarry_client.client import Client
from quarry_client.errors import ClientError
from quarry_client.evaluation import mean, ndcg, recall
from quarry_client.retry import PATIENT
from quarry_client.types import MODES, Accepted, Mode

DEPTH = 100
"""How many documents are asked for per query, and the k of recall."""


class Figures(msgspec.Struct, frozen=True):
    """What one mode reached on one collection."""

    collection: str
    mode: str
    documents: int
    queries: int
    k: int
    ndcg: float
    recall_at_100: float


@click.command("eval")
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--mode",
    "--modes",
    "modes",
    multiple=True,
    type=click.Choice(MODES),
    help="May be repeated; default all.",
)
@click.option("--k", default=10, show_default=True, type=click.IntRange(1, DEPTH), help="Depth of nDCG.")
@click.option("--collection", help="Where the documents go; default the folder's name.")
@click.option("--jobs", default=4, show_default=True, type=click.IntRange(1, 64), help="Requests at once.")
@click.option("--ingest/--no-ingest", default=True, help="Send the documents first (default).")
@json_option
@with_client(retry=PATIENT, timeout_seconds=120.0)
def eval_command(
    client: Client,
    folders: tuple[Path, ...],
    modes: tuple[Mode, ...],
    k: int,
    collection: str | None,
    jobs: int,
    ingest: bool,
    as_json: bool,
) -> None:
    """Measure graded nDCG@k and recall@100 on judged collections in BEIR layout.

    Sends the documents to a collection of their own (what has not changed is not indexed again), asks every
    judged query in each mode, and takes the best passage of each document.
    """
    if collection and len(folders) > 1:
        raise click.UsageError("--collection goes with one folder only.")
    figures: list[Figures] = []
    for folder in folders:
        judged = read_collection(folder)
        name = collection or collection_name(folder)
        if ingest:
            send_corpus(client, judged, name, jobs)
        _warn_of_strangers(client, judged, name)
        figures += (evaluate(client, judged, name, mode, k=k, jobs=jobs) for mode in modes or MODES)
    if as_json:
        print_json({"figures": figures})
        return
    rows = (
        (f.collection, f.mode, f.documents, f.queries, f"{f.ndcg:.4f}", f"{f.recall_at_100:.4f}")
        for f in figures
    )
    columns = ("collection", "mode", "documents", "queries", f"nDCG@{k}", f"recall@{DEPTH}")
    print_table(columns, rows, empty="")


def collection_name(folder: Path) -> str:
    """Return the folder's name as a collection may be called."""
    return re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")[:64].rstrip("-_") or "eval"


def send_corpus(client: Client, judged: JudgedCollection, collection: str, jobs: int) -> None:
    """Make every document searchable; raises ClientError when one is not, for the figures would be wrong."""

    def send(document: CorpusDocument) -> Accepted:
        return client.put_document(
            document.id, title=document.title, content=document.text, collection=collection
        )

    ensure_collection(client, collection)
    screen = notices()
    bad: list[Report[CorpusDocument]] = []
    with screen.status(f"Sending {judged.document_count} documents to {collection}") as status:
        done = 0
        for report in ingest_items(client, judged.documents(), send, jobs=jobs):
            bad += [report] if report.outcome in {Outcome.REFUSED, Outcome.FAILED} else []
            done += report.outcome is not Outcome.ACCEPTED
            status.update(f"{collection}: {done} of {judged.document_count} documents searchable")
    if bad:
        first = bad[0]
        raise ClientError(
            f"{len(bad)} of {judged.document_count} documents of {judged.folder} are not searchable, "
            f"the first {first.item.id}: {first.detail} ({first.code})",
            first.advice or "The figures would not mean anything.",
        )


def _warn_of_strangers(client: Client, judged: JudgedCollection, collection: str) -> None:
    count = client.get_collection(collection).document_count
    if count != judged.document_count:
        notices().print(
            f"Note: {collection} holds {count} documents and {judged.folder} has {judged.document_count}; "
            "the figures are of what it holds.",
            markup=False,
        )


def evaluate(
    client: Client, judged: JudgedCollection, collection: str, mode: Mode, *, k: int, jobs: int
) -> Figures:
    """Ask every judged query in one mode and return the means."""

    def ask(query: JudgedQuery) -> tuple[float, float]:
        ranking = ranked_documents(client, query.text, collection, mode)
        grades = judged.judgements[query.id]
        return ndcg(ranking, grades, k), recall(ranking, grades, DEPTH)

    scores = list(run_parallel(judged.queries, ask, jobs))
    return Figures(
        collection,
        mode,
        judged.document_count,
        len(scores),
        k,
        mean(score[0] for score in scores),
        mean(score[1] for score in scores),
    )


def ranked_documents(client: Client, query: str, collection: str, mode: Mode) -> Sequence[str]:
    """Return the documents' own ids, best first."""
    answer = client.search(
        query, mode=mode, limit=DEPTH, filters={"collection": collection}, group_by_document=True
    )
    return [result.external_id for result in answer.results if result.external_id is not None]
