"""A response as data, and the meaning of its body and headers. Pure."""

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from thrive_learning._exchange.server_text import show
from thrive_learning._formats import http_date
from thrive_learning._http.port import Headers
from thrive_learning._interruptions import interruption
from thrive_learning._json_text import JSON_NAMES, with_items
from thrive_learning._response_headers import ResponseHeaders, is_kept

if TYPE_CHECKING:
    from thrive_learning.errors import Attempt

_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)

# The vendor documents no such header. API gateways and load balancers of AWS send these.
_REQUEST_ID_HEADERS = (b"x-request-id", b"x-amzn-requestid", b"apigw-requestid")


class Reply:
    """A response as data. Its body has been read, and its connection released.

    Attributes:
        fields: The headers by their lowercase names, with the values of one name joined by commas.
        flaw: Why the body cannot be used; None if it can.
        cut: Whether the flaw is a missing end of the body.
        history: The attempts that led to this reply.
        url: The requested URL as an error may show it.
        operation: The method that sent the request.
        request_id: The request ID to quote to the vendor's support, masked; set by the seam.
    """

    __slots__ = (
        "_headers",
        "body",
        "cut",
        "fields",
        "flaw",
        "history",
        "operation",
        "request_id",
        "status_code",
        "url",
    )

    def __init__(
        self,
        *,
        status_code: int,
        headers: Headers = (),
        body: bytes = b"",
        flaw: str | None = None,
        cut: bool = False,
    ) -> None:
        self.status_code: int = status_code
        self._headers = headers
        self.fields: Mapping[bytes, bytes] = _by_name(headers)
        self.body: bytes = body
        self.flaw: str | None = flaw
        self.cut: bool = cut
        self.history: tuple[Attempt, ...] = ()
        self.url: str | None = None
        self.operation: str | None = None
        self.request_id: str | None = None

    def header(self, name: bytes) -> str | None:
        """Return the value of a header by its lowercase name; None if it is missing.

        The values of a header that was sent several times are joined as a list.
        """
        value = self.fields.get(name)
        return None if value is None else value.decode(errors="replace")

    def values(self, name: bytes) -> list[str]:
        """Return the distinct values of a header by its lowercase name, in order.

        For headers that are not lists, whose values may contain a comma.
        """
        found = (value for cased, value in self._headers if cased.lower() == name)
        return list(dict.fromkeys(value.decode(errors="replace").strip(" \t") for value in found))

    def only_value(self, name: bytes) -> str | None:
        """Return the value of a header that is not a list; None if it is missing or contradictory."""
        values = self.values(name)
        return values[0] if len(values) == 1 else None

    def has_request_id(self) -> bool:
        """Return whether the response has a request ID."""
        return any(self.fields.get(name) for name in _REQUEST_ID_HEADERS)

    def shown_request_id(self, secrets: tuple[str, ...]) -> str | None:
        """Return the request ID to quote to the vendor's support, masked; None if the response has none."""
        for name in _REQUEST_ID_HEADERS:
            if self.fields.get(name):
                return show(", ".join(self.values(name)), secrets)
        return None

    def kept_headers(self, secrets: tuple[str, ...]) -> ResponseHeaders:
        """Return the headers that results and errors keep, masked."""
        names = dict.fromkeys(cased.lower() for cased, _value in self._headers)
        kept = [name for name in names if is_kept(name.decode("ascii", errors="replace"))]
        return ResponseHeaders(
            {name.decode("ascii"): show(", ".join(self.values(name)), secrets) for name in kept}
        )

    def retry_after(self) -> float | None:
        """Return the seconds that the server asks to wait before the next attempt, or None."""
        value = self.header(b"retry-after")
        if value is None:
            return None
        date, age = self.only_value(b"date"), self.header(b"age")
        return retry_after(value, dt.datetime.now(dt.UTC), date, age)


def _by_name(headers: Headers) -> dict[bytes, bytes]:
    """Return headers by their lowercase names, with the values of one name joined.

    httpx's own lookup decodes and scans all headers each time.

    Source: RFC 9110 section 5.3.
    """
    fields: dict[bytes, bytes] = {}
    for cased, value in headers:
        name = cased.lower()
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def _refuse(constant: str) -> NoReturn:
    raise json.JSONDecodeError(f"{constant} is not JSON", constant, 0)


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise OverflowError
    return value


def strict_decoder(
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> json.JSONDecoder:
    """Return a decoder without Python's extensions of JSON, because to_dict() must return valid JSON.

    Args:
        object_pairs_hook: Converts each object; None for a dictionary.
    """
    return json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, object_pairs_hook=object_pairs_hook)


_decoder = strict_decoder()


class ArrayItems(NamedTuple):
    """An array of JSON whose items are converted one by one during parsing.

    Attributes:
        name: The member of the object that is the array; None if the whole text is the array.
        of_item: Converts an item, given its value and its text.
        on_member: Called for each member of the object.
    """

    name: str | None
    of_item: Callable[[Any, str], Any]
    on_member: Callable[[], object]


def json_body(  # noqa: PLR0911 - one return per flaw
    body: bytes, *, items: ArrayItems | None = None, decoder: json.JSONDecoder | None = None
) -> tuple[str, Any] | str:
    """Parse a body as a JSON object, or as an array if requested.

    Args:
        body: The body.
        items: The array whose items are converted; None without one.
        decoder: The decoder (see `strict_decoder`); None for one that returns dictionaries.

    Returns:
        The text and the value, or the flaw of the body.
    """
    decoder = decoder or _decoder
    expected: type = list if items is not None and items.name is None else dict
    try:
        text = body.decode().removeprefix("\ufeff")
        value: Any = (
            decoder.decode(text)
            if items is None
            else with_items(text, items.name, items.of_item, decoder, items.on_member)
        )
    except RecursionError:
        return "its body is JSON that is nested too deeply"
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        if interruption(error) is not None:
            raise
        problem = str(error)  # Python's own text, which has positions and no quotes
        if not body.strip():
            return "its body is empty"
        if body.lstrip()[:1] == b"<":
            return "its body is HTML or XML, not JSON, so a proxy or a gateway seems to have answered"
        return f"its body is not JSON ({problem})"
    except (OverflowError, ValueError):  # a float beyond 1e308, an integer of more than 4,300 digits
        return "its body has a number that is too large for Python"
    if not isinstance(value, expected):
        return f"its body is JSON, but {JSON_NAMES[type(value)]} and not {JSON_NAMES[expected]}"
    return text, value


def json_object(body: bytes, decoder: json.JSONDecoder | None = None) -> tuple[str, dict[str, Any]] | str:
    """Parse a body as a JSON object, and return its text and the object, or the flaw of the body."""
    return json_body(body, decoder=decoder)


def is_json_object(reply: Reply) -> bool:
    """Return whether a body arrived intact and is a JSON object, as all bodies of the API are."""
    return reply.flaw is None and not isinstance(json_object(reply.body), str)


def retry_after(
    value: str | None, now: dt.datetime, date: str | None = None, age: str | None = None
) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait; None if it has no usable value.

    If several servers added a value each, the longest valid one satisfies all of them.

    A date is relative to the server's own clock, which is `Date` plus `Age`, because this machine's clock may
    be hours off.

    Args:
        value: The header, in seconds or as a date; several values are joined by commas.
        now: This machine's time with a time zone, for a response without a usable `Date`.
        date: The response's `Date`.
        age: The response's `Age`, its seconds in a cache. The first value counts.

    Source: RFC 9110 sections 5.3, 5.6.7, 6.6.1 and 10.2.3; RFC 9111 section 5.1.
    """
    members = [member.strip(" \t") for member in (value or "").split(",")]
    waits = [float(member) for member in members if _SECONDS.fullmatch(member)]
    # The name of a day, separated by a comma from its date, is a member without meaning.
    untils = [until for until in map(http_date, members) if until is not None]
    if untils:
        sent, cached = http_date(date), (age or "").partition(",")[0].strip(" \t")
        # Added as seconds, because a date after the year 9999 is an error.
        cached_s = float(cached) if sent is not None and _SECONDS.fullmatch(cached) else 0.0
        waits += [max(0.0, (until - (sent or now)).total_seconds() - cached_s) for until in untils]
    return max(waits, default=None)
