"""A small platform behind the HTTP server: documents by external id, jobs that end, searches by words."""

import json
import re
import threading
from dataclasses import dataclass, field
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from libs.client.tests.http_server import Received, Reply, problem

NOW = "2026-01-02T03:04:05Z"


@dataclass
class Platform:
    """Answers like the API; `refuse_jobs` and `refuse_uploads` name external ids and what they get."""

    key: str = "secret"
    collections: set[str] = field(default_factory=lambda: {"default"})
    documents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    jobs: dict[UUID, dict[str, object]] = field(default_factory=dict)
    latest: dict[tuple[str, str], UUID] = field(default_factory=dict)
    refuse_jobs: dict[str, dict[str, object]] = field(default_factory=dict)
    refuse_uploads: dict[str, Reply] = field(default_factory=dict)
    refuse_batches: Reply | None = None
    priorities: dict[str, str] = field(default_factory=dict)
    polls_until_done: int = 1
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Received) -> Reply:
        with self.lock:
            if request.headers.get("x-api-key") != self.key:
                return problem(401, "unauthenticated", "The key is not valid.", advice="Use another key.")
            match request.method, request.path.split("/")[2:]:
                case "PUT", ["documents", "by-external-id", *parts]:
                    return self.put("/".join(parts), request)
                case "POST", ["documents", "batch"]:
                    return self.batch(request)
                case "GET", ["jobs", job_id]:
                    return self.job(UUID(job_id))
                case "GET", ["jobs"]:
                    return self.job_page(request)
                case "GET", ["collections", name]:
                    return self.collection(name)
                case "POST", ["collections"]:
                    self.collections.add(str(request.json()["name"]))
                    return self.collection(str(request.json()["name"]))
                case "POST", ["search"]:
                    return self.search(request)
                case _:
                    return problem(404, "not_found", "There is no such path.")

    def put(self, external_id: str, request: Received) -> Reply:
        if external_id in self.refuse_uploads:
            return self.refuse_uploads[external_id]
        self.priorities[external_id] = request.query.get("priority", "")
        place = (request.query.get("collection", "default"), external_id)
        unchanged = self._keep(place, _content(request))
        return Reply(200 if unchanged else 202, self._accepted(place, unchanged=unchanged))

    def batch(self, request: Received) -> Reply:
        if self.refuse_batches is not None:
            return self.refuse_batches
        asked = request.json()
        documents = asked["documents"]
        assert isinstance(documents, list)
        assert asked["upsert"] is True
        results = [
            {"index": index, **self._take(document, str(asked["priority"]))}
            for index, document in enumerate(documents)
        ]
        counts = {
            status: sum(result["status"] == status for result in results)
            for status in ("accepted", "unchanged", "rejected")
        }
        return Reply(202, {**counts, "results": results})

    def _take(self, document: dict[str, object], priority: str) -> dict[str, object]:
        external_id = str(document["external_id"])
        refusal = self.refuse_uploads.get(external_id)
        if refusal is not None:
            assert isinstance(refusal.body, dict)
            return {"status": "rejected", "error": refusal.body}
        self.priorities[external_id] = priority
        place = (str(document["collection"]), external_id)
        unchanged = self._keep(place, json.dumps(document, sort_keys=True).encode())
        status = "unchanged" if unchanged else "accepted"
        return {"status": status, **self._accepted(place, unchanged=unchanged)}

    def _keep(self, place: tuple[str, str], body: bytes) -> bool:
        """Store a document; return whether it was there already."""
        unchanged = self.documents.get(place) == body
        if not unchanged:
            self.documents[place] = body
            self.latest[place] = uuid4()
            self.jobs[self.latest[place]] = _job(self.latest[place], place[1], self.refuse_jobs)
        return unchanged

    def _accepted(self, place: tuple[str, str], *, unchanged: bool) -> dict[str, object]:
        return {
            "document_id": str(uuid5(NAMESPACE_URL, place[1])),
            "job_id": str(self.latest[place]),
            "version": 1,
            "unchanged": unchanged,
        }

    def job(self, job_id: UUID) -> Reply:
        job = self.jobs.get(job_id)
        return Reply(200, self._polled(job)) if job else problem(404, "not_found", "There is no such job.")

    def job_page(self, request: Received) -> Reply:
        newest = list(reversed(self.jobs.values()))
        start, limit = int(request.query.get("cursor", "0")), int(request.query["limit"])
        end = start + limit
        page = [self._polled(job) for job in newest[start:end]]
        return Reply(200, {"jobs": page, "next_cursor": str(end) if end < len(newest) else None})

    def _polled(self, job: dict[str, object]) -> dict[str, object]:
        polls = job["polls"]
        assert isinstance(polls, int)
        job["polls"] = polls + 1
        done = polls >= self.polls_until_done
        shown = {name: value for name, value in job.items() if name != "polls"}
        return shown if done else shown | {"state": "running", "stage": "embed", "error": None}

    def collection(self, name: str) -> Reply:
        if name not in self.collections:
            return problem(404, "not_found", f"There is no collection {name}.")
        count = sum(1 for place in self.documents if place[0] == name)
        return Reply(200, {"id": str(uuid4()), "name": name, "created_at": NOW, "document_count": count})

    def search(self, request: Received) -> Reply:
        asked = request.json()
        words = set(re.findall(r"\w+", str(asked["query"]).lower()))
        collection = asked["filters"]["collection"] if asked.get("filters") else "default"  # type: ignore[index]
        hits = []
        for (place, external_id), body in self.documents.items():
            score = len(words & set(re.findall(r"\w+", body.decode("utf-8", "replace").lower())))
            if place == collection and score:
                hits.append(result(external_id, score=float(score), collection=place))
        hits.sort(key=lambda hit: (-float(str(hit["score"])), str(hit["external_id"])))
        limit = int(str(asked["limit"]))
        answer = {
            "query_id": str(uuid4()),
            "mode": asked["mode"],
            "query": asked["query"],
            "total": len(hits),
        }
        return Reply(200, answer | {"results": hits[:limit], "timings_ms": {"total": 1.5}})


def result(external_id: str, **more: object) -> dict[str, object]:
    """A passage as the API gives it."""
    return {
        "document_id": str(uuid5(NAMESPACE_URL, external_id)),
        "external_id": external_id,
        "chunk_id": str(uuid4()),
        "version": 1,
        "title": external_id,
        "heading_path": [],
        "page": None,
        "char_start": 0,
        "char_end": 4,
        "text": "text",
        "highlights": [],
        "score": 1.0,
        "doc_type": "text",
        "tags": [],
        "metadata": {},
        "collection": "default",
        "source_url": None,
        "created_at": NOW,
    } | more


def _job(job_id: UUID, external_id: str, refusals: dict[str, dict[str, object]]) -> dict[str, object]:
    error = refusals.get(external_id)
    return {
        "id": str(job_id),
        "document_id": str(uuid5(NAMESPACE_URL, external_id)),
        "collection": "default",
        "title": external_id,
        "version": 1,
        "state": "failed" if error else "succeeded",
        "stage": None,
        "chunks_done": 1,
        "chunks_total": 1,
        "attempt": 1,
        "created_at": NOW,
        "error": error,
        "polls": 0,
    }


def _content(request: Received) -> bytes:
    """The document without what differs from one sending to the next: the boundary of multipart."""
    kind = request.headers.get("content-type", "")
    if "boundary=" in kind:
        return request.body.replace(kind.partition("boundary=")[2].encode(), b"")
    return json.dumps(request.json(), sort_keys=True).encode()
