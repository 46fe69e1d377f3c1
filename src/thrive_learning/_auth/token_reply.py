"""Reads a token endpoint's reply: a token, or why it has none. Pure.

The vendor does not document its endpoint's format, and an issued token should not be lost. So the fields of
RFC 6749 are read in every form in which servers are known to send them.
"""

import contextlib
import json
import math
import re
from typing import Any, NamedTuple, cast

from thrive_learning._auth.outcomes import LONGEST_LIFETIME_S
from thrive_learning._exchange.messages import MAX_ERROR_BODY_CHARACTERS, show_error_name
from thrive_learning._exchange.reply import Reply, json_object
from thrive_learning._exchange.server_text import show

#: The lifetime of a token whose response has no usable lifetime, in seconds.
#: Source: RFC 6749 section 5.1 makes `expires_in` optional; the vendor's tokens live 3600 s.
ASSUMED_LIFETIME_S = 3600.0

_OK = 200  # the only success in RFC 6749 section 5.1

_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,20})?(?:[eE]\+?\d{1,3})?", re.ASCII)
_VISIBLE = re.compile(r"[!-~]+")
_SEPARATORS = re.compile(r"[\s,]+")
# Python cannot parse an int with more digits than this.
_MOST_DIGITS = 4000

_ABOUT_THE_CLIENT = frozenset({"invalid_client", "unauthorized_client"})
# The other codes of RFC 6749 section 5.2, except invalid_request, which depends on the description.
_ABOUT_SOMETHING_ELSE = frozenset({"invalid_scope", "invalid_grant", "unsupported_grant_type"})
_MENTIONS_THE_CLIENT = re.compile(
    # Not `client_credentials`, which is the grant type.
    r"client[ _-]?(?:id|secret|auth)|(?<!_)credentials|authori[sz]ation header|basic auth|missing auth",
    re.IGNORECASE,
)
_BASIC_CHALLENGE = re.compile(r"(?:^|,) *basic(?: |$|,)", re.IGNORECASE)

_CODES = ("error", "code", "error_code", "__type")
_DESCRIPTIONS = ("error_description", "message", "detail", "Message", "title", "description", "errors")


class Remark(NamedTuple):
    """A departure from the standard that did not prevent the token, for the log.

    Attributes:
        kind: The kind, which is logged once.
        name: The field.
        value: Its value as JSON.
        consequence: The assumption instead.
    """

    kind: str
    name: str
    value: str
    consequence: str


class Granted(NamedTuple):
    """A token as the response describes it.

    Attributes:
        value: The token.
        lifetime_s: The lifetime in seconds.
        scopes: The scopes that the server names; None without any.
        remarks: Assumptions, for the log.
    """

    value: str
    lifetime_s: float
    scopes: tuple[str, ...] | None
    remarks: tuple[Remark, ...]


class Answer:
    """The meaning of a reply.

    Args:
        reply: The reply.
        secrets: The secrets to mask if the server repeats them.

    Attributes:
        granted: The token; None without one.
        problem: The flaw of a response that should contain a token; None without one.
        error: The error code; None without one.
        description: The server's description of the error; None without one.
        status: The HTTP status; or with a 200, the error status in the body, if any.
        wait_s: The seconds that the server asks to wait; None without a request to wait.
        rejects_the_client: Whether the server rejects the client with this authentication method, so that
            another method may work.

    Source: RFC 6749 section 5; the vendor's pages on errors, whose formats its token endpoint may use as
        well.
    """

    def __init__(self, reply: Reply, secrets: tuple[str, ...]) -> None:
        self.reply: Reply = reply
        self.granted: Granted | None = None
        self.problem: str | None = None
        self.error: str | None = None
        self.description: str | None = None
        self.status: int = reply.status_code
        self.wait_s: float | None = reply.retry_after()
        self.rejects_the_client: bool = False
        error, description = None, None
        fields = read_object(reply.body) if reply.flaw is None else reply.flaw
        if isinstance(fields, str):
            self.problem = fields
        else:
            error, description = self._read(fields, secrets)
        if self.granted is None:
            self.rejects_the_client = self._rejects_the_client(error, description or "")

    def _read(self, fields: dict[str, Any], secrets: tuple[str, ...]) -> tuple[str | None, str | None]:
        """Read a body, and return its unmasked error code and description."""
        if self.status == _OK:
            given = granted(fields)
            if not isinstance(given, str):
                secrets += (given.value,)
                self.granted = given._replace(
                    remarks=tuple(
                        remark._replace(value=show(remark.value, secrets)) for remark in given.remarks
                    )
                )
                return None, None
            self.problem = given
            status: object = fields.get("status")
            if isinstance(status, int) and 400 <= status <= 599:  # noqa: PLR2004 - the range of errors
                self.status = status
            value: object = fields.get("access_token")
            secrets += (value,) if isinstance(value, str) else ()
        error, description = explanation(fields)
        self.error = show_error_name(error, secrets) if error else None
        self.description = show(description, secrets, MAX_ERROR_BODY_CHARACTERS) if description else None
        return error, description

    @property
    def is_explained(self) -> bool:
        """Whether the server describes the error."""
        return self.error is not None or self.description is not None

    @property
    def said(self) -> str:
        """The status and the server's description, for a message."""
        words = ": ".join(show(text, ()) for text in (self.error, self.description) if text)
        return f"{self.reply.status_code} ({words})" if words else f"{self.reply.status_code}"

    def _rejects_the_client(self, error: str | None, description: str) -> bool:
        if error in _ABOUT_THE_CLIENT:
            return self.status == _OK or 400 <= self.status <= 499  # noqa: PLR2004
        if error in _ABOUT_SOMETHING_ELSE:
            return False
        if self.status == 401:  # noqa: PLR2004
            # An HTML page is from a proxy or a gateway, unless it asks for HTTP Basic.
            challenge = self.reply.header(b"www-authenticate") or ""
            is_page = self.reply.body.lstrip()[:1] == b"<"
            return not is_page or _BASIC_CHALLENGE.search(challenge) is not None
        is_about_the_request = self.status in {400, 422}
        return is_about_the_request and _MENTIONS_THE_CLIENT.search(description) is not None


def read_object(body: bytes) -> dict[str, Any] | str:
    """Parse a body as a JSON object. Accept numbers that JSON does not allow or that are too large.

    Returns:
        The object, or what is wrong with the body.
    """
    read = json_object(body)
    if not isinstance(read, str):
        return read[1]
    with contextlib.suppress(ValueError, RecursionError):
        document = _lenient.decode(body.decode().removeprefix("\ufeff"))
        if isinstance(document, dict):
            return cast("dict[str, Any]", document)
    return read


def _any_int(digits: str) -> float:
    return int(digits) if len(digits) < _MOST_DIGITS else math.inf


_lenient = json.JSONDecoder(parse_int=_any_int)


def granted(fields: dict[str, Any]) -> Granted | str:
    """Interpret a successful response.

    Returns:
        The token, or what is wrong with the response.

    Source: RFC 6749 section 5.1.
    """
    value = fields.get("access_token")
    # Any other character could not be sent in a header.
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        return "its access_token is missing or has characters other than visible ASCII"
    kind = fields.get("token_type")
    if kind is not None and (not isinstance(kind, str) or kind.strip().lower() not in {"", "bearer"}):
        return "its token_type is not Bearer"
    remarks: list[Remark] = []
    lifetime_s = _lifetime(fields, remarks)
    return Granted(value, lifetime_s, _scopes(fields, remarks), tuple(remarks))


def _lifetime(fields: dict[str, Any], remarks: list[Remark]) -> float:
    if "expires_in" not in fields:
        return ASSUMED_LIFETIME_S
    given: object = fields["expires_in"]
    seconds = _seconds(given)
    if seconds is not None and 0 < seconds <= LONGEST_LIFETIME_S:
        return seconds
    kind = type(given).__name__ if seconds is None else "range"
    remarks.append(Remark(f"expires_in {kind}", "expires_in", compact(given), "one hour is assumed"))
    return ASSUMED_LIFETIME_S


def _seconds(given: object) -> float | None:
    """Return a number of seconds, which may be out of range; None if it is not a number."""
    if isinstance(given, str) and _NUMBER.fullmatch(given.strip()):
        given = float(given)
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return None
    try:
        seconds = float(given)
    except OverflowError:
        return math.inf
    return None if math.isnan(seconds) else seconds


def _scopes(fields: dict[str, Any], remarks: list[Remark]) -> tuple[str, ...] | None:
    name = "scopes" if fields.get("scope") is None else "scope"
    given: object = fields.get(name)
    if given is None:
        return None
    names: list[str] = []
    for text in _listed(given):
        if not isinstance(text, str):
            assumed = "the requested scopes are assumed"
            shown = compact(given)
            remarks.append(Remark(f"{name} {type(text).__name__}", name, shown, assumed))
            return None
        names += filter(None, _SEPARATORS.split(text))
    return tuple(dict.fromkeys(names))


def _listed(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]


def explanation(fields: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the error code and the description of an error, in any of the usual formats.

    These are OAuth's (`error`, `error_description`), the API's own (`status`, `error`, `message`), a bare
    `message`, and an `error` that is itself an object.

    Source: RFC 6749 section 5.2; the vendor's pages on errors.
    """
    error: object = fields.get("error")
    inner = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
    code = _first_text(fields, _CODES) or _first_text(inner, _CODES)
    description = _first(fields, _DESCRIPTIONS) or _first(inner, _DESCRIPTIONS)
    if description is None and isinstance(error, (dict, list)) and error:
        description = compact(cast("object", error))
    return code, description


def _first_text(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value: object = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return compact(value)
        if isinstance(value, str) and value.strip():
            return value
    return None


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value: object = fields.get(name)
        if isinstance(value, str):
            value = value.strip()
        if value not in (None, "", [], {}):
            return value if isinstance(value, str) else compact(value)
    return None


def compact(value: object) -> str:
    """Return JSON on one line, without spaces."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return f"({type(value).__name__})"
