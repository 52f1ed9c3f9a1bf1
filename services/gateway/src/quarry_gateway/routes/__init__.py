"""One module per resource; what a route needs and answers is declared beside it."""

from litestar.handlers import HTTPRouteHandler

from quarry_gateway.routes import (
    audit,
    batch,
    caches,
    changes,
    collections,
    content,
    dead_letters,
    documents,
    domains,
    index,
    jobs,
    keys,
    own_tenant,
    pages,
    search,
    signing_keys,
    system,
    tenants,
    uploads,
    usage,
)

HANDLERS: list[HTTPRouteHandler] = [
    *uploads.HANDLERS,
    *documents.HANDLERS,
    *batch.HANDLERS,
    *changes.HANDLERS,
    *content.HANDLERS,
    *jobs.HANDLERS,
    *dead_letters.HANDLERS,
    *collections.HANDLERS,
    *search.HANDLERS,
    *keys.HANDLERS,
    *own_tenant.HANDLERS,
    *usage.HANDLERS,
    *audit.HANDLERS,
    *signing_keys.HANDLERS,
    *domains.HANDLERS,
    *tenants.HANDLERS,
    *index.HANDLERS,
    *caches.HANDLERS,
    *system.HANDLERS,
    *pages.HANDLERS,
]
