"""How a command fails: one clear sentence, what to do next, exit code 1."""

import click

from quarry_client.cli.output import duration, plain
from quarry_client.errors import ApiError, ClientError


class Failure(click.ClickException):
    """A failure that is told without a traceback."""

    exit_code = 1

    def __init__(self, detail: str, advice: str = "", notes: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.advice = advice
        self.notes = notes

    @classmethod
    def of(cls, error: ClientError) -> "Failure":
        """Tell an error of the client."""
        if not isinstance(error, ApiError):
            return cls(error.detail, error.advice)
        notes = tuple(f"{wrong.field}: {wrong.message}" for wrong in error.errors)
        after = error.retry_after_seconds
        later = (f"Try again in {duration(after)}.",) if after is not None else ()
        request = (f"Request id: {error.request_id}",) if error.request_id else ()
        return cls(f"{error.detail} ({error.code})", error.advice, notes + later + request)

    def format_message(self) -> str:
        """Return the sentence, the notes and the advice, each on its own line."""
        advice = (self.advice,) if self.advice else ()
        return plain("\n".join((self.message, *(f"  {note}" for note in self.notes), *advice)))
