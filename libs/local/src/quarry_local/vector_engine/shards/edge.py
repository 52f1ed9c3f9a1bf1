"""The only door to the engine library's calls: turns what it raises into the errors of this package."""

import logging
from collections.abc import Callable
from typing import TypeVar

from quarry_local.vector_engine.errors import (
    NotFoundError,
    VectorEngineError,
    WrongInputError,
)

ResultT = TypeVar("ResultT")

INPUT_ERRORS = (
    "Vector dimension error",
    "Not existing vector name",
    "Wrong usage of sparse vectors",
    "Validation failed",
    "Wrong input",
    "Bad request",
    "No appropriate index",
    "No range index",
    "Wrong type",
    "Conversion between",
    "Expected",
    "Multivector",
    "Validation error",
)

log = logging.getLogger(__name__)


def call(function: Callable[..., ResultT], *arguments: object) -> ResultT:
    """Return `function(*arguments)`, a call into the engine.

    Raises `WrongInputError` for what the engine refuses, `NotFoundError` for a missing point and
    `VectorEngineError` for everything else.
    """
    try:
        return function(*arguments)
    except (ValueError, TypeError, OverflowError) as error:
        raise WrongInputError(_first_line(error)) from None
    # The library raises bare `Exception` for every error of its own, and panics as a BaseException.
    except Exception as error:  # noqa: BLE001
        raise _translated(str(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        log.exception("the engine library panicked")
        raise VectorEngineError(f"Service internal error: panic: {_first_line(error)}") from None


def _translated(message: str) -> VectorEngineError:
    if message.startswith("No point with id"):
        return NotFoundError(f"{message} found")
    if message.startswith(INPUT_ERRORS):
        return WrongInputError(message.removeprefix("Wrong input: "))
    log.error("the engine library failed: %s", message)
    return VectorEngineError(f"Service internal error: {message}")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
