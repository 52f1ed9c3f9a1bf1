import msgspec
import pytest

from quarry_common import errors
from quarry_common.errors import ErrorData, FieldError, QuarryError, RemoteError, error_data


def subclasses(kind: type[QuarryError]) -> list[type[QuarryError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in subclasses(child))]


OWN = [
    kind for kind in subclasses(QuarryError) if kind.__module__ == errors.__name__ and kind is not RemoteError
]


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.code)
def test_every_error_says_what_happened_and_what_to_do(kind: type[QuarryError]) -> None:
    data = kind().data

    assert data.title
    assert data.detail
    assert data.advice
    assert 400 <= data.status < 600


def test_codes_are_used_once() -> None:
    assert len({kind.code for kind in OWN}) == len(OWN)


def test_an_error_survives_the_journey() -> None:
    data = errors.ValidationError(
        "Wrong.", errors=[FieldError("a.b", "is wrong")], retry_after_seconds=1.5
    ).data

    assert msgspec.json.decode(msgspec.json.encode(data), type=ErrorData) == data
    assert RemoteError(data).data == data


def test_an_unforeseen_error_tells_nothing() -> None:
    data = error_data(ValueError("password=hunter2"))

    assert data.code == "internal_error"
    assert "hunter2" not in str(data)
