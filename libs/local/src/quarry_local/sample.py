"""What `quarry up --sample` shows: a tenant, a key, the project's own documents, a search."""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import msgspec

from quarry_client.client import Client
from quarry_client.errors import ApiError
from quarry_client.types import Answer, Job, PlanName
from quarry_local.errors import LocalError
from quarry_local.layout import write_private

TENANT = "default"
PLAN: PlanName = "unlimited"
"""Whoever runs Quarry for oneself is held up by the disk, not by a quota."""
INDEX_SECONDS = 300.0
POLL_SECONDS = 0.1
QUERY = "How does an uploaded file become searchable?"


class Credentials(msgspec.Struct, frozen=True):
    """What a person needs to use the API; `var/credentials.json`."""

    url: str
    operator_key: str
    tenant_slug: str
    api_key: str


def load_credentials(path: Path) -> Credentials | None:
    """Return what the file holds, or None when there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except (OSError, msgspec.DecodeError):
        return None


def ensure_credentials(path: Path, url: str, operator_key: str) -> Credentials:
    """Return working credentials: those in the file, else a new key of the tenant `default`.

    The tenant is made without quotas when it is not there.
    """
    found = load_credentials(path)
    if found is not None and found.operator_key == operator_key and _works(url, found.api_key):
        kept = msgspec.structs.replace(found, url=url)
        if kept != found:
            write_private(path, _encode(kept))
        return kept
    with Client(url, operator_key) as operator:
        try:
            operator.create_tenant(TENANT, "Default", plan=PLAN)
        except ApiError as error:
            if error.status != 409:  # it is there from an earlier start, with the plan that it has by now
                raise
    with Client(url, operator_key, tenant=TENANT) as operator:
        created = operator.create_key(f"local-{secrets.token_hex(3)}", role="admin")
    made = Credentials(url, operator_key, TENANT, created.key)
    write_private(path, _encode(made))
    return made


def sample_files(root: Path) -> list[Path]:
    """Return the project's own documents."""
    return [path for path in (root / "README.md", *sorted((root / "docs").rglob("*.md"))) if path.is_file()]


def ingest(credentials: Credentials, root: Path, files: Sequence[Path]) -> tuple[int, int]:
    """Send the files, wait until they can be found; return how many, and how many had changed.

    Repeating it is harmless: a file is known by its path, and unchanged content is not indexed again.
    """
    changed = 0
    jobs: dict[UUID, str] = {}
    with Client(credentials.url, credentials.api_key) as client:
        for path in files:
            name = path.relative_to(root).as_posix()
            accepted = client.put_file(name, path)
            changed += not accepted.unchanged
            jobs[accepted.job_id] = name
        deadline = time.monotonic() + INDEX_SECONDS
        for job_id, name in jobs.items():
            _wait(client, job_id, name, deadline)
    return len(files), changed


def search(credentials: Credentials, query: str = QUERY, limit: int = 3) -> Answer:
    """Return the first results."""
    with Client(credentials.url, credentials.api_key) as client:
        return client.search(query, limit=limit, group_by_document=True)


def _wait(client: Client, job_id: UUID, name: str, deadline: float) -> Job:
    while True:
        job = client.get_job(job_id)
        if job.state == "succeeded":
            return job
        if job.final:
            reason = job.error.detail if job.error else job.state
            raise LocalError(
                f"The sample {name} was not indexed: {reason}.", advice="See `quarry logs indexer`."
            )
        if time.monotonic() > deadline:
            raise LocalError(
                f"The sample {name} was not searchable within {INDEX_SECONDS:.0f} s (stage {job.stage}).",
                advice="See `quarry status` and `quarry logs indexer`.",
            )
        time.sleep(POLL_SECONDS)


def _works(url: str, key: str) -> bool:
    try:
        with Client(url, key) as client:
            client.list_collections(limit=1)
    except ApiError as error:
        return error.status not in {401, 403}
    return True


def _encode(credentials: Credentials) -> bytes:
    return msgspec.json.format(msgspec.json.encode(credentials), indent=2) + b"\n"
