"""What the engine refuses, with Qdrant's HTTP statuses and Qdrant's sentences where it has them."""

from quarry_common.errors import QuarryError


class VectorEngineError(QuarryError):
    """Base: the request failed inside the engine."""

    code = "vector_engine_failed"
    status = 500
    title = "Service internal error"
    advice = "Read the vector engine's log."


class WrongInputError(VectorEngineError):
    """The request is understood but not possible, or not supported here."""

    code = "vector_engine_wrong_input"
    status = 400
    title = "Wrong input"
    advice = "docs/vector-engine.md lists what is supported."

    def __init__(self, detail: str) -> None:
        super().__init__(f"Wrong input: {detail}")


class FormatError(VectorEngineError):
    """The body or a query parameter is not what the operation takes."""

    code = "vector_engine_format"
    status = 400
    title = "Format error"
    advice = "docs/vector-engine.md lists what is supported."

    def __init__(self, detail: str) -> None:
        super().__init__(f"Format error in {detail}")


class NotFoundError(VectorEngineError):
    """There is no such collection or point, or no such operation."""

    code = "vector_engine_not_found"
    status = 404
    title = "Not found"
    advice = "Check the name."

    def __init__(self, detail: str) -> None:
        super().__init__(f"Not found: {detail}")


class AlreadyExistsError(VectorEngineError):
    """The collection is there already."""

    code = "vector_engine_exists"
    status = 409
    title = "Already exists"
    advice = "Use the collection that is there, or delete it first."

    def __init__(self, detail: str) -> None:
        super().__init__(f"Wrong input: {detail}")


class TooLargeError(VectorEngineError):
    """The body is over the limit."""

    code = "vector_engine_too_large"
    status = 413
    title = "Payload too large"
    advice = "Send fewer points in one request."


class BusyError(VectorEngineError):
    """Too many writes wait, or the process is stopping."""

    code = "vector_engine_busy"
    status = 503
    title = "Service unavailable"
    advice = "Try again later."


class StartError(VectorEngineError):
    """The process cannot start: its folder or its port is taken, or cannot be used."""

    code = "vector_engine_start"
    title = "The vector engine cannot start"
    advice = "Stop the other process, or choose another folder or port."


class ShardLostError(VectorEngineError):
    """The process that holds a shard has died; the engine stops, and loses nothing that it has answered."""

    code = "vector_engine_shard_lost"
    status = 503
    title = "A shard's process has died"
    advice = "Start the vector engine again; its log says more."

    def __init__(self, name: str = "") -> None:
        whose = f" of `{name}`" if name else ""
        super().__init__(f"the process that holds the shard{whose} has died; the vector engine stops")


class RunGivenUpError(VectorEngineError):
    """An optimisation was given up; the collection is as it was. `reason` is one word, for the metrics."""

    code = "vector_engine_run_given_up"
    status = 503
    title = "The optimisation was given up"
    advice = "It is tried again later."

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
