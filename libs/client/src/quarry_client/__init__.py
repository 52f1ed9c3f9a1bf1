"""The Python client of Quarry's HTTP API.

::

    from quarry_client import Client

    with Client("http://127.0.0.1:8080", api_key) as quarry:
        quarry.put_document("guide", title="Guide", content="...", wait_seconds=30)
        for result in quarry.search("how do I begin?").results:
            print(result.score, result.title, result.text)
"""

from quarry_client.async_client import AsyncClient
from quarry_client.client import Client
from quarry_client.errors import (
    ApiError,
    ClientError,
    FieldError,
    MissedEventsError,
    UnreachableError,
    UnreadableAnswerError,
)
from quarry_client.retry import RetryPolicy

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "FieldError",
    "MissedEventsError",
    "RetryPolicy",
    "UnreachableError",
    "UnreadableAnswerError",
]
