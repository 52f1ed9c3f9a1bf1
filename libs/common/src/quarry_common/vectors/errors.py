from quarry_common.errors import QuarryError, UnavailableError


class VectorIndexError(QuarryError):
    """The vector index refused a request that it should have understood."""

    code = "vector_index_refused"
    title = "The vector index refused a request"


class EmbedderMismatchError(UnavailableError):
    """What is in the vector index does not fit the embedder that is configured."""

    code = "embedder_mismatch"
    title = "The vector index does not fit the embedder"
    advice = "Run `quarry migrate`, or configure the embedder that the index was built with."
