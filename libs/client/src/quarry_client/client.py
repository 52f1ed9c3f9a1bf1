"""The client."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date, datetime
from typing import Self, TypeVar, Unpack
from uuid import UUID

import httpx

from quarry_client import calls
from quarry_client.answers import read_answer
from quarry_client.attempts import Attempts
from quarry_client.calls import Call
from quarry_client.calls.analytics import SearchRange
from quarry_client.errors import UnreachableError
from quarry_client.operations import Operation
from quarry_client.retry import RetryPolicy
from quarry_client.transport import built, checked_url, headers_of, is_loopback
from quarry_client.types import Job, PlatformEvent, TableName, UsageFormatName
from quarry_client.watching import TIMEOUT, EventWatch, JobWatch, Watch

T = TypeVar("T")


class Client:
    """Talks to one installation with one key. May be shared by threads.

    `tenant` is the slug of the tenant that a platform operator acts for. A request that cannot be told
    apart from its repetition is sent again after 429, 502, 503, 504, `idempotency_key_in_flight` and broken
    connections, as `retry` allows; any other is sent again only when it surely never left, or was refused
    because too many came at once. A used-up quota is waited for only when it passes within seconds.

    Every operation raises ApiError, UnreachableError or UnreadableAnswerError.
    """

    create_document = Operation(calls.create_document)
    create_file = Operation(calls.create_file)
    put_document = Operation(calls.put_document)
    put_file = Operation(calls.put_file)
    put_documents = Operation(calls.put_documents)
    list_documents = Operation(calls.list_documents)
    get_document = Operation(calls.get_document)
    find_document = Operation(calls.find_document)
    get_content = Operation(calls.get_content)
    list_chunks = Operation(calls.list_chunks)
    patch_document = Operation(calls.patch_document)
    delete_document = Operation(calls.delete_document)
    delete_found_document = Operation(calls.delete_found_document)
    reindex = Operation(calls.reindex)
    list_jobs = Operation(calls.list_jobs)
    get_job = Operation(calls.get_job)
    cancel_job = Operation(calls.cancel_job)
    retry_job = Operation(calls.retry_job)
    cancel_jobs = Operation(calls.cancel_jobs)
    list_dead_letters = Operation(calls.list_dead_letters)
    get_dead_letter = Operation(calls.get_dead_letter)
    replay_dead_letters = Operation(calls.replay_dead_letters)
    discard_dead_letters = Operation(calls.discard_dead_letters)
    create_collection = Operation(calls.create_collection)
    list_collections = Operation(calls.list_collections)
    get_collection = Operation(calls.get_collection)
    update_collection = Operation(calls.update_collection)
    delete_collection = Operation(calls.delete_collection)
    search = Operation(calls.search)
    search_batch = Operation(calls.search_batch)
    create_key = Operation(calls.create_key)
    list_keys = Operation(calls.list_keys)
    get_key = Operation(calls.get_key)
    key_usage = Operation(calls.key_usage)
    rotate_key = Operation(calls.rotate_key)
    verify_key = Operation(calls.verify_key)
    revoke_key = Operation(calls.revoke_key)
    create_signing_key = Operation(calls.create_signing_key)
    list_signing_keys = Operation(calls.list_signing_keys)
    revoke_tokens = Operation(calls.revoke_tokens)
    create_webhook = Operation(calls.create_webhook)
    list_webhooks = Operation(calls.list_webhooks)
    get_webhook = Operation(calls.get_webhook)
    update_webhook = Operation(calls.update_webhook)
    delete_webhook = Operation(calls.delete_webhook)
    rotate_webhook_secret = Operation(calls.rotate_webhook_secret)
    send_webhook_test = Operation(calls.send_webhook_test)
    list_deliveries = Operation(calls.list_deliveries)
    get_delivery = Operation(calls.get_delivery)
    redeliver = Operation(calls.redeliver)
    recover_webhook = Operation(calls.recover_webhook)
    replay_webhook = Operation(calls.replay_webhook)
    get_replay = Operation(calls.get_replay)
    webhook_stats = Operation(calls.webhook_stats)
    list_event_types = Operation(calls.list_event_types)
    webhooks_overview = Operation(calls.webhooks_overview)
    add_domain = Operation(calls.add_domain)
    check_domain = Operation(calls.check_domain)
    list_domains = Operation(calls.list_domains)
    remove_domain = Operation(calls.remove_domain)
    create_tenant = Operation(calls.create_tenant)
    list_tenants = Operation(calls.list_tenants)
    get_tenant = Operation(calls.get_tenant)
    update_tenant = Operation(calls.update_tenant)
    delete_tenant = Operation(calls.delete_tenant)
    restore_tenant = Operation(calls.restore_tenant)
    purge_receipt = Operation(calls.purge_receipt)
    own_tenant = Operation(calls.own_tenant)
    update_own_tenant = Operation(calls.update_own_tenant)
    popular_queries = Operation(calls.popular_queries)
    queries_without_results = Operation(calls.queries_without_results)
    queries_of_low_confidence = Operation(calls.queries_of_low_confidence)
    search_stats = Operation(calls.search_stats)
    search_timeseries = Operation(calls.search_timeseries)
    trending_queries = Operation(calls.trending_queries)
    searches_of_user = Operation(calls.searches_of_user)
    forget_user = Operation(calls.forget_user)
    usage = Operation(calls.usage)
    export_usage = Operation(calls.export_usage)
    list_audit = Operation(calls.list_audit)
    verify_audit = Operation(calls.verify_audit)
    inspect_index = Operation(calls.inspect_index)
    repair_index = Operation(calls.repair_index)
    cache_stats = Operation(calls.cache_stats)
    purge_cache = Operation(calls.purge_cache)
    replay_events = Operation(calls.replay_events)
    health = Operation(calls.health)
    version = Operation(calls.version)

    def __init__(
        self,
        url: str,
        api_key: str,
        tenant: str | None = None,
        timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        base_url = checked_url(url)
        self.tenant = tenant
        self._base_url = str(base_url).rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._retry = retry or RetryPolicy()
        self._stopping = threading.Event()
        self._http = httpx.Client(
            base_url=base_url, headers=headers_of(api_key, tenant), trust_env=not is_loopback(base_url)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End waiting retries and close the connections."""
        self.stop_retrying()
        self._http.close()

    def stop_retrying(self) -> None:
        """Send nothing again from now on; a call that waits to be sent again fails at once."""
        self._stopping.set()

    def send(self, call: Call[T], *, retry: RetryPolicy | None = None) -> T:
        """Send `call`, again if need be, and return its answer; `retry` instead of the client's own."""
        attempts = Attempts(retry or self._retry, call, self._base_url)
        while True:
            try:
                with built(self._http, call, self._timeout_seconds) as request:
                    response = self._http.send(request)
            except httpx.RequestError as error:
                delay = attempts.after_failure(error)
            else:
                pause = attempts.after_response(response)
                if pause is None:
                    return read_answer(call, response)
                delay = pause
            self._wait(delay, f"{call.method} {call.path}")

    def stream(self, call: Call[str]) -> Iterator[str]:
        """Send `call`, again if need be until its answer begins, and yield its text piece by piece.

        An answer that breaks off raises UnreachableError: its beginning was told, so we do not ask again.
        """
        attempts = Attempts(self._retry, call, self._base_url)
        while True:
            begun = False
            try:
                with (
                    built(self._http, call, self._timeout_seconds) as request,
                    closing(self._http.send(request, stream=True)) as response,
                ):
                    begun = response.is_success
                    if begun:
                        yield from response.iter_text()
                        return
                    response.read()
            except httpx.RequestError as error:
                if begun:
                    raise attempts.broken_off(error) from error
                delay = attempts.after_failure(error)
            else:
                pause = attempts.after_response(response)
                if pause is None:
                    yield read_answer(call, response)
                    return
                delay = pause
            self._wait(delay, f"{call.method} {call.path}")

    def export_searches(self, format_name: TableName = "csv", **chosen: Unpack[SearchRange]) -> Iterator[str]:
        """Yield every recorded search as text, oldest first."""
        return self.stream(calls.export_searches(format_name, **chosen))

    def export_all_usage(
        self, format_name: UsageFormatName = "csv", *, first: date | None = None, last: date | None = None
    ) -> Iterator[str]:
        """Yield what every tenant used as text, tenant by tenant; asks for the operator's key."""
        return self.stream(calls.export_all_usage(format_name, first=first, last=last))

    def watch_job(self, job_id: UUID) -> Iterator[Job]:
        """Yield the job as it is now and after each change until it is over.

        A connection that breaks or ends is opened again, as `retry` allows, and nothing is told twice.
        """
        return self._watch(JobWatch(calls.watch_job(job_id), self._retry, self._base_url))

    def follow_events(
        self,
        event_types: Sequence[str] = (),
        *,
        since: datetime | None = None,
        after: str | None = None,
        everywhere: bool = False,
        on_missed: Callable[[str], None] | None = None,
    ) -> Iterator[PlatformEvent]:
        """Yield what happens in the tenant from now on, without end; `everywhere` with the operator's key.

        It begins after the event whose `place` is `after`, or with what was told at `since` (with a zone) or
        later. Each of `event_types` is a type, such as `document.indexed`, or `<entity>.*`. A connection that
        breaks or ends is opened again, as `retry` allows: nothing is missed and nothing told twice. When
        events are not kept any more, `on_missed` is told so, or MissedEventsError is raised.
        """
        call = calls.follow_events(event_types, since=since, everywhere=everywhere)
        return self._watch(EventWatch(call, self._retry, self._base_url, after=after, on_missed=on_missed))

    def _watch(self, watch: Watch[T]) -> Iterator[T]:
        while not watch.is_over():
            try:
                with self._http.stream(
                    "GET", watch.path, params=watch.params, headers=watch.headers, timeout=TIMEOUT
                ) as response:
                    if not response.is_success:
                        response.read()
                    delay = watch.opened(response)
                    if delay is None:
                        for piece in response.iter_bytes():
                            yield from watch.read(piece)
                            if watch.is_over():
                                break
                        delay = watch.ended()
            except httpx.RequestError as error:
                delay = watch.broke(error)
            if not watch.is_over():
                self._wait(delay, f"GET {watch.path}")

    def _wait(self, delay_seconds: float, what: str) -> None:
        if self._stopping.wait(delay_seconds):
            raise UnreachableError(f"{what} was given up because the client stops.")
