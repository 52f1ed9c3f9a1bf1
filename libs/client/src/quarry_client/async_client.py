"""The client for programs that must not block: the same operations, to be awaited."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import date, datetime
from typing import Self, TypeVar, Unpack
from uuid import UUID

import httpx

from quarry_client import calls
from quarry_client.answers import read_answer
from quarry_client.attempts import Attempts
from quarry_client.calls import Call
from quarry_client.calls.analytics import SearchRange
from quarry_client.operations import AsyncOperation
from quarry_client.retry import RetryPolicy
from quarry_client.transport import built, checked_url, headers_of, is_loopback
from quarry_client.types import Job, PlatformEvent, TableName, UsageFormatName
from quarry_client.watching import TIMEOUT, EventWatch, JobWatch, Watch

T = TypeVar("T")


class AsyncClient:
    """The same operations as Client, to be awaited; belongs to one event loop."""

    create_document = AsyncOperation(calls.create_document)
    create_file = AsyncOperation(calls.create_file)
    put_document = AsyncOperation(calls.put_document)
    put_file = AsyncOperation(calls.put_file)
    put_documents = AsyncOperation(calls.put_documents)
    list_documents = AsyncOperation(calls.list_documents)
    get_document = AsyncOperation(calls.get_document)
    find_document = AsyncOperation(calls.find_document)
    get_content = AsyncOperation(calls.get_content)
    list_chunks = AsyncOperation(calls.list_chunks)
    patch_document = AsyncOperation(calls.patch_document)
    delete_document = AsyncOperation(calls.delete_document)
    delete_found_document = AsyncOperation(calls.delete_found_document)
    reindex = AsyncOperation(calls.reindex)
    list_jobs = AsyncOperation(calls.list_jobs)
    get_job = AsyncOperation(calls.get_job)
    cancel_job = AsyncOperation(calls.cancel_job)
    retry_job = AsyncOperation(calls.retry_job)
    cancel_jobs = AsyncOperation(calls.cancel_jobs)
    list_dead_letters = AsyncOperation(calls.list_dead_letters)
    get_dead_letter = AsyncOperation(calls.get_dead_letter)
    replay_dead_letters = AsyncOperation(calls.replay_dead_letters)
    discard_dead_letters = AsyncOperation(calls.discard_dead_letters)
    create_collection = AsyncOperation(calls.create_collection)
    list_collections = AsyncOperation(calls.list_collections)
    get_collection = AsyncOperation(calls.get_collection)
    update_collection = AsyncOperation(calls.update_collection)
    delete_collection = AsyncOperation(calls.delete_collection)
    search = AsyncOperation(calls.search)
    search_batch = AsyncOperation(calls.search_batch)
    create_key = AsyncOperation(calls.create_key)
    list_keys = AsyncOperation(calls.list_keys)
    get_key = AsyncOperation(calls.get_key)
    key_usage = AsyncOperation(calls.key_usage)
    rotate_key = AsyncOperation(calls.rotate_key)
    verify_key = AsyncOperation(calls.verify_key)
    revoke_key = AsyncOperation(calls.revoke_key)
    create_signing_key = AsyncOperation(calls.create_signing_key)
    list_signing_keys = AsyncOperation(calls.list_signing_keys)
    revoke_tokens = AsyncOperation(calls.revoke_tokens)
    create_webhook = AsyncOperation(calls.create_webhook)
    list_webhooks = AsyncOperation(calls.list_webhooks)
    get_webhook = AsyncOperation(calls.get_webhook)
    update_webhook = AsyncOperation(calls.update_webhook)
    delete_webhook = AsyncOperation(calls.delete_webhook)
    rotate_webhook_secret = AsyncOperation(calls.rotate_webhook_secret)
    send_webhook_test = AsyncOperation(calls.send_webhook_test)
    list_deliveries = AsyncOperation(calls.list_deliveries)
    get_delivery = AsyncOperation(calls.get_delivery)
    redeliver = AsyncOperation(calls.redeliver)
    recover_webhook = AsyncOperation(calls.recover_webhook)
    replay_webhook = AsyncOperation(calls.replay_webhook)
    get_replay = AsyncOperation(calls.get_replay)
    webhook_stats = AsyncOperation(calls.webhook_stats)
    list_event_types = AsyncOperation(calls.list_event_types)
    webhooks_overview = AsyncOperation(calls.webhooks_overview)
    add_domain = AsyncOperation(calls.add_domain)
    check_domain = AsyncOperation(calls.check_domain)
    list_domains = AsyncOperation(calls.list_domains)
    remove_domain = AsyncOperation(calls.remove_domain)
    create_tenant = AsyncOperation(calls.create_tenant)
    list_tenants = AsyncOperation(calls.list_tenants)
    get_tenant = AsyncOperation(calls.get_tenant)
    update_tenant = AsyncOperation(calls.update_tenant)
    delete_tenant = AsyncOperation(calls.delete_tenant)
    restore_tenant = AsyncOperation(calls.restore_tenant)
    purge_receipt = AsyncOperation(calls.purge_receipt)
    own_tenant = AsyncOperation(calls.own_tenant)
    update_own_tenant = AsyncOperation(calls.update_own_tenant)
    popular_queries = AsyncOperation(calls.popular_queries)
    queries_without_results = AsyncOperation(calls.queries_without_results)
    queries_of_low_confidence = AsyncOperation(calls.queries_of_low_confidence)
    search_stats = AsyncOperation(calls.search_stats)
    search_timeseries = AsyncOperation(calls.search_timeseries)
    trending_queries = AsyncOperation(calls.trending_queries)
    searches_of_user = AsyncOperation(calls.searches_of_user)
    forget_user = AsyncOperation(calls.forget_user)
    usage = AsyncOperation(calls.usage)
    export_usage = AsyncOperation(calls.export_usage)
    list_audit = AsyncOperation(calls.list_audit)
    verify_audit = AsyncOperation(calls.verify_audit)
    inspect_index = AsyncOperation(calls.inspect_index)
    repair_index = AsyncOperation(calls.repair_index)
    cache_stats = AsyncOperation(calls.cache_stats)
    purge_cache = AsyncOperation(calls.purge_cache)
    replay_events = AsyncOperation(calls.replay_events)
    health = AsyncOperation(calls.health)
    version = AsyncOperation(calls.version)

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
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=headers_of(api_key, tenant), trust_env=not is_loopback(base_url)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, call: Call[T], *, retry: RetryPolicy | None = None) -> T:
        """Send `call`, again if need be, and return its answer; `retry` instead of the client's own."""
        attempts = Attempts(retry or self._retry, call, self._base_url)
        while True:
            try:
                with built(self._http, call, self._timeout_seconds) as request:
                    response = await self._http.send(request)
            except httpx.RequestError as error:
                delay = attempts.after_failure(error)
            else:
                pause = attempts.after_response(response)
                if pause is None:
                    return read_answer(call, response)
                delay = pause
            await asyncio.sleep(delay)

    async def stream(self, call: Call[str]) -> AsyncIterator[str]:
        """Send `call`, again if need be until its answer begins, and yield its text piece by piece.

        An answer that breaks off raises UnreachableError: its beginning was told, so we do not ask again.
        """
        attempts = Attempts(self._retry, call, self._base_url)
        while True:
            begun = False
            try:
                with built(self._http, call, self._timeout_seconds) as request:
                    async with aclosing(await self._http.send(request, stream=True)) as response:
                        begun = response.is_success
                        if begun:
                            async for piece in response.aiter_text():
                                yield piece
                            return
                        await response.aread()
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
            await asyncio.sleep(delay)

    def export_searches(
        self, format_name: TableName = "csv", **chosen: Unpack[SearchRange]
    ) -> AsyncIterator[str]:
        """Yield every recorded search as text, oldest first."""
        return self.stream(calls.export_searches(format_name, **chosen))

    def export_all_usage(
        self, format_name: UsageFormatName = "csv", *, first: date | None = None, last: date | None = None
    ) -> AsyncIterator[str]:
        """Yield what every tenant used as text, tenant by tenant; asks for the operator's key."""
        return self.stream(calls.export_all_usage(format_name, first=first, last=last))

    def watch_job(self, job_id: UUID) -> AsyncIterator[Job]:
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
    ) -> AsyncIterator[PlatformEvent]:
        """Yield what happens in the tenant from now on, without end; `everywhere` with the operator's key.

        It begins after the event whose `place` is `after`, or with what was told at `since` (with a zone) or
        later. Each of `event_types` is a type, such as `document.indexed`, or `<entity>.*`. A connection that
        breaks or ends is opened again, as `retry` allows: nothing is missed and nothing told twice. When
        events are not kept any more, `on_missed` is told so, or MissedEventsError is raised.
        """
        call = calls.follow_events(event_types, since=since, everywhere=everywhere)
        return self._watch(EventWatch(call, self._retry, self._base_url, after=after, on_missed=on_missed))

    async def _watch(self, watch: Watch[T]) -> AsyncIterator[T]:
        while not watch.is_over():
            try:
                async with self._http.stream(
                    "GET", watch.path, params=watch.params, headers=watch.headers, timeout=TIMEOUT
                ) as response:
                    if not response.is_success:
                        await response.aread()
                    delay = watch.opened(response)
                    if delay is None:
                        async for piece in response.aiter_bytes():
                            for told in watch.read(piece):
                                yield told
                            if watch.is_over():
                                break
                        delay = watch.ended()
            except httpx.RequestError as error:
                delay = watch.broke(error)
            if not watch.is_over():
                await asyncio.sleep(delay)
