"""One module per resource; what a route needs and answers is declared beside it."""

from litestar.handlers import HTTPRouteHandler

from quarry_gateway.routes import collections, documents, jobs, keys, pages, search, system, tenants

HANDLERS: list[HTTPRouteHandler] = [
    *documents.HANDLERS,
    *jobs.HANDLERS,
    *collections.HANDLERS,
    *search.HANDLERS,
    *keys.HANDLERS,
    *tenants.HANDLERS,
    *system.HANDLERS,
    *pages.HANDLERS,
]
