"""One module per resource; what a route needs and answers is declared beside it."""

from litestar.handlers import HTTPRouteHandler

from quarry_gateway.routes import (
    batch,
    caches,
    changes,
    collections,
    content,
    dead_letters,
    documents,
    index,
    jobs,
    keys,
    pages,
    search,
    system,
    tenants,
    uploads,
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
    *tenants.HANDLERS,
    *index.HANDLERS,
    *caches.HANDLERS,
    *system.HANDLERS,
    *pages.HANDLERS,
]
