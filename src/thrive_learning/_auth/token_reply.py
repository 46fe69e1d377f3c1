"""What a token endpoint's reply says: a token, or why there is none. Pure.

The vendor does not publish what its endpoint sends, and a token that was issued may have cost money. So what
RFC 6749 requires is read in every form in which servers are known to send it.
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

#: The lifetime of a token whose response does not say it in a usable way. Seconds.
#: Source: RFC 6749 section 5.1 makes `expires_in` optional; the vendor's tokens live 3600 s.
ASSUMED_LIFETIME_S = 3600.0

_OK = 200  # RFC 6749 section 5.1 knows no other success

_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,20})?(?:[eE]\+?\d{1,3})?", re.ASCII)
_VISIBLE = re.compile(r"[!-~]+")
_SEPARATORS = re.compile(r"[\s,]+")
# Python refuses to read an int of more digits than this.
_MOST_DIGITS = 4000

_ABOUT_THE_CLIENT = frozenset({"invalid_client", "unauthorized_client"})
# The other codes of RFC 6749 section 5.2, besides invalid_request, whose description decides.
_ABOUT_SOMETHING_ELSE = frozenset({"invalid_scope", "invalid_grant", "unsupported_grant_type"})
_MENTIONS_THE_CLIENT = re.compile(
    # Not `client_credentials`, which is the grant.
    r"client[ _-]?(?:id|secret|auth)|(?<!_)credentials|authori[sz]ation header|basic auth|missing auth",
    re.IGNORECASE,
)
_BASIC_CHALLENGE = re.compile(r"(?:^|,) *basic(?: |$|,)", re.IGNORECASE)

_CODES = ("error", "code", "error_code", "__type")
_DESCRIPTIONS = ("error_description", "message", "detail", "Message", "title", "description", "errors")


class Remark(NamedTuple):
    """A departure that did not cost the token, for the log.

    Attributes:
        kind: What is logged once.
        name: The field.
        value: Its value as JSON.
        consequence: What is assumed.
    """

    kind: str
    name: str
    value: str
    consequence: str


class Granted(NamedTuple):
    """A token as the response describes it.

    Attributes:
        value: The token.
        lifetime_s: How long it is valid, in seconds.
        scopes: The scopes that the server names; None if it names none.
        remarks: What had to be assumed.
    """

    value: str
    lifetime_s: float
    scopes: tuple[str, ...] | None
    remarks: tuple[Remark, ...]


class Answer:
    """What a reply says.

    Args:
        reply: The reply.
        secrets: What must not show, should the server repeat it.

    Attributes:
        granted: The token; None if there is none.
        problem: What is wrong with a response that should have a token; None if nothing is.
        error: The error code; None if there is none.
        description: What the server says about the error; None if it says nothing.
        status: The HTTP status; with a 200, that of the body, if it names one that is an error.
        wait_s: How long the server asks to wait, in seconds.
        rejects_the_client: Whether the server rejects the client as it authenticated in that request. Another
            way of authenticating may work.

    Source: RFC 6749 section 5; the vendor's pages on errors, whose forms its token endpoint may use as well.
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
        """Read a body, and return its error code and description as they are."""
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
            if isinstance(status, int) and 400 <= status <= 599:  # noqa: PLR2004 - these are errors
                self.status = status
            value: object = fields.get("access_token")
            secrets += (value,) if isinstance(value, str) else ()
        error, description = explanation(fields)
        self.error = show_error_name(error, secrets) if error else None
        self.description = show(description, secrets, MAX_ERROR_BODY_CHARACTERS) if description else None
        return error, description

    @property
    def is_explained(self) -> bool:
        """Whether the server says in words what is wrong."""
        return self.error is not None or self.description is not None

    @property
    def said(self) -> str:
        """The status and the words of the server, for a message."""
        words = ": ".join(show(text, ()) for text in (self.error, self.description) if text)
        return f"{self.reply.status_code} ({words})" if words else f"{self.reply.status_code}"

    def _rejects_the_client(self, error: str | None, description: str) -> bool:
        if error in _ABOUT_THE_CLIENT:
            return self.status == _OK or 400 <= self.status <= 499  # noqa: PLR2004
        if error in _ABOUT_SOMETHING_ELSE:
            return False
        if self.status == 401:  # noqa: PLR2004
            # A page is a proxy's or a gateway's, unless it asks for HTTP Basic.
            challenge = self.reply.header(b"www-authenticate") or ""
            is_page = self.reply.body.lstrip()[:1] == b"<"
            return not is_page or _BASIC_CHALLENGE.search(challenge) is not None
        is_about_the_request = self.status in {400, 422}
        return is_about_the_request and _MENTIONS_THE_CLIENT.search(description) is not None


def read_object(body: bytes) -> dict[str, Any] | str:
    """Read a body as a JSON object, with numbers that JSON does not allow or that nobody can hold.

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
    """Read a successful response.

    Returns:
        The token, or what is wrong with the response.

    Source: RFC 6749 section 5.1.
    """
    value = fields.get("access_token")
    # Anything but visible ASCII could not be sent in a header.
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        return "its access_token is missing or not of visible ASCII characters"
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
    """Return a number of seconds, which need not make sense; None if it cannot be read."""
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
    """Return the error code and the description of an error, in whatever of the usual forms it is sent.

    Those are OAuth's (`error`, `error_description`), the API's own (`status`, `error`, `message`), a bare
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
