"""Fields: the values of a request's JSON object, read one by one; whatever is wrong is an error that names the field.

    fields = Fields(parse_object(body))
    seed = fields.take("seed", integer(0, 2**64 - 1), 0)
    fields.end()                                    # RequestError: color is not a field

null is a value that is not given.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from samebits.core.records import shown

__all__ = ["Fields", "Read", "RequestError", "array", "flag", "integer", "object_fields", "one_of", "parse_object", "text"]

T = TypeVar("T")
Read = Callable[[Any, str], T]
"""Checks a value of the field of that name."""


class RequestError(ValueError):
    """A request that cannot be answered.

    Args:
        message: What is wrong, for the client.
        status: The status of HTTP.
        param: The field that is wrong.
        code: A name of the error for programs.

    Example:
        >>> RequestError("n must be at least 1, got 0", param="n").body()
        {'error': {'message': 'n must be at least 1, got 0', 'type': 'invalid_request_error', 'param': 'n', 'code': None}}
    """

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def body(self) -> dict[str, Any]:
        """The JSON object that OpenAI's interface has for errors."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


class Fields:
    """The fields of an object, each of which is taken once.

    Args:
        values: The object.
        place: The field that it is the value of, if it is inside another object.

    Example:
        >>> fields = Fields({"n": 2, "seed": None})
        >>> fields.take("n", integer(1, 8), 1), fields.take("seed", integer(0, 8), 5)
        (2, 5)
    """

    def __init__(self, values: dict[str, Any], place: str = "") -> None:
        self._values, self._place = dict(values), place

    def name(self, field: str) -> str:
        """The whole name of a field: ``messages[0].role``."""
        return f"{self._place}.{field}" if self._place else field

    def take(self, field: str, read: Read[T], default: T) -> T:
        """The value of a field, or the default where it is not given.

        Raises:
            RequestError: The value is wrong.
        """
        value = self._values.pop(field, None)
        return default if value is None else read(value, self.name(field))

    def need(self, field: str, read: Read[T]) -> T:
        """The value of a field that must be given.

        Raises:
            RequestError: The value is missing or wrong.
        """
        if self._values.get(field) is None:
            raise RequestError(f"{self.name(field)} is missing", param=self.name(field), code="missing_required_parameter")
        return read(self._values.pop(field), self.name(field))

    def ignore(self, *names: str) -> None:
        """Leave out fields that change nothing here."""
        for field in names:
            self._values.pop(field, None)

    def refuse(self, *names: str) -> None:
        """Check that fields that are not supported are not given.

        Raises:
            RequestError: One is.
        """
        for field in names:
            self.allow(field)

    def allow(self, field: str, *allowed: Any) -> None:
        """Leave out a field that is supported with some values alone.

        Raises:
            RequestError: It has another value.
        """
        value, place = self._values.pop(field, None), self.name(field)
        if value is not None and not any(type(value) is type(one) and value == one for one in allowed):
            but = f" except as {' or '.join(map(json.dumps, allowed))}" if allowed else ""
            raise RequestError(f"{place} is not supported{but}, got {shown(value)}", param=place, code="unsupported_parameter")

    def end(self) -> None:
        """Check that no field is left.

        Raises:
            RequestError: There is one that is not known.
        """
        for field, value in self._values.items():
            if value is not None:
                place = self.name(field if field.isprintable() and len(field) <= 60 else shown(field))
                raise RequestError(f"{place} is not a field of this request", param=place, code="unknown_parameter")


def parse_object(body: bytes) -> dict[str, Any]:
    """The object in a request's body, in which NaN and the infinities are numbers.

    Raises:
        RequestError: The body is not a JSON object, or has a name twice.

    Example:
        >>> parse_object(b'{"n": 2}')
        {'n': 2}
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, one in pairs:
            if name in found:
                raise RequestError(
                    f"the body must have each name of an object once, got {shown(name)} twice", code="invalid_json"
                )
            found[name] = one
        return found

    try:
        value = json.loads(body.decode(), object_pairs_hook=unique)
    except RequestError:
        raise
    except UnicodeDecodeError as error:
        raise RequestError(f"the body must be JSON in UTF-8, but byte {error.start} is not UTF-8", code="invalid_json") from None
    except json.JSONDecodeError as error:
        raise RequestError(
            f"the body must be JSON, but line {error.lineno}, column {error.colno} is not: {error.msg}", code="invalid_json"
        ) from None
    except RecursionError:
        raise RequestError("the body must be JSON that is not nested so deeply", code="invalid_json") from None
    except ValueError:  # Python converts no more than 4,300 digits
        raise RequestError("the body must be JSON whose integers have fewer digits", code="invalid_json") from None
    if type(value) is not dict:
        raise RequestError(f"the body must be a JSON object, got {shown(value)}", code="invalid_json")
    return value


def text(value: Any, name: str) -> str:
    r"""A string that UTF-8 can encode.

    Example:
        >>> text("\ud800", "user")
        Traceback (most recent call last):
        ...
        samebits.cli.server.fields.RequestError: user must be text that UTF-8 can encode, but it has half of a surrogate pair
    """
    if type(value) is not str:
        raise _wrong(name, "a string", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RequestError(
            f"{name} must be text that UTF-8 can encode, but it has half of a surrogate pair", param=name
        ) from None
    return value


def flag(value: Any, name: str) -> bool:
    """true or false."""
    if type(value) is not bool:
        raise _wrong(name, "true or false", value)
    return value


def integer(least: int, most: int) -> Read[int]:
    """Reads an integer from ``least`` to ``most``."""

    def read(value: Any, name: str) -> int:
        if type(value) is not int or not least <= value <= most:
            raise _wrong(name, f"an integer from {least} to {most}", value)
        return value

    return read


def array(read: Read[T], *, most: int | None = None) -> Read[list[T]]:
    """Reads an array of values, at least one and at most ``most``."""

    def read_all(value: Any, name: str) -> list[T]:
        if type(value) is not list:
            raise _wrong(name, "an array", value)
        if not value or (most is not None and len(value) > most):
            count = "at least one value" if most is None else f"from 1 to {most} values"
            raise RequestError(f"{name} must have {count}, got {len(value)}", param=name)
        return [read(one, f"{name}[{place}]") for place, one in enumerate(value)]

    return read_all


def object_fields(value: Any, name: str) -> Fields:
    """The fields of an object."""
    if type(value) is not dict:
        raise _wrong(name, "an object", value)
    return Fields(value, name)


def one_of(*allowed: str) -> Read[str]:
    """Reads one of some strings."""

    def read(value: Any, name: str) -> str:
        if type(value) is not str or value not in allowed:
            raise _wrong(name, _listed(allowed), value)
        return value

    return read


def _listed(allowed: Sequence[str]) -> str:
    return " or ".join(map(repr, allowed))


def _wrong(name: str, what: str, value: Any) -> RequestError:
    return RequestError(f"{name} must be {what}, got {shown(value)}", param=name, code="invalid_value")
