"""What a remote embedder may answer instead of vectors.

`UnavailableError` and what derives from it tells nothing about the texts: the endpoint is away, or its limits
are used up. The others do, or tell of a mistake in the settings.
"""

from quarry_common.errors import QuarryError, UnavailableError


class EmbedderLimitedError(UnavailableError):
    """The endpoint's rate limit, or the budget given to it, is used up; `retry_after_seconds` says for how
    long. It never counts against a document."""

    code = "embedder_limited"
    title = "The rate limit of the embedding endpoint is reached"
    advice = (
        "Nothing needs to be done: work goes on when the limit allows. Raise the limit if that is too slow."
    )


class EmbedderFailedError(QuarryError):
    """The endpoint failed, did not answer in time, or answered with what are not the vectors asked for.

    Worth trying again, a bounded number of times.
    """

    code = "embedder_failed"
    status = 502
    title = "The embedding endpoint failed"
    advice = "Look at the endpoint named in EMBEDDER_URL, then retry."


class EmbedderDimensionsError(EmbedderFailedError):
    """The endpoint's vectors have another length than the index is made for."""

    advice = "Set EMBEDDER_DIMENSIONS to the length that the model gives, then run `quarry migrate`."


class EmbedderRefusedError(QuarryError):
    """The endpoint refused the request; the same request will be refused again."""

    code = "embedder_refused"
    status = 502
    title = "The embedding endpoint refused the request"
    advice = "Check EMBEDDER_URL and EMBEDDER_MODEL."


class TextRefusedError(EmbedderRefusedError):
    """The endpoint refused what was in the request: one of its texts, their number or their size."""

    advice = (
        "If it concerns one text, lower EMBEDDER_MAX_TOKENS to what the model reads. If it concerns all, "
        "check EMBEDDER_MODEL; set EMBEDDER_SEND_DIMENSIONS=false for a model of one length of vectors."
    )


class EmbedderUnauthorizedError(QuarryError):
    """The endpoint does not accept the key, or the account behind it may not do this."""

    code = "embedder_unauthorized"
    status = 502
    title = "The embedding endpoint does not accept the key"
    advice = "Check EMBEDDER_API_KEY and what its account may use."
