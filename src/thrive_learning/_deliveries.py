"""Checks the signature and the body of a webhook delivery. Pure.

The functions return errors instead of raising them, because a traceback shows the local variables of each
frame, and these contain secrets and bodies.
"""

import hmac
import re
from collections.abc import Iterable
from typing import Any, Final, cast

from thrive_learning._exchange.reply import json_object, strict_decoder
from thrive_learning._interruptions import interruption
from thrive_learning.credentials import Secret
from thrive_learning.errors import ConfigurationError, SignatureError, ThriveError, WebhookError

#: The header with the signature.
SIGNATURE_HEADER: Final = "x-hmac-signature"

_SIGNATURE = re.compile(r"sha256=([0-9a-fA-F]{64})")
_MAX_DEPTH = 100


def flaw_of_body(body: object, limit: object) -> ThriveError | None:
    """Return what is wrong with the size or type of a body; None if it is valid.

    Args:
        body: The body.
        limit: The size limit in bytes.
    """
    if not isinstance(body, (bytes, bytearray)):
        return ConfigurationError(
            f"body is of type {type(body).__name__}. Pass the raw bytes of the request, because they are "
            "what is signed."
        )
    if not isinstance(limit, int) or limit < 1:
        return ConfigurationError(f"max_body_bytes is {limit!r}. Pass a number of bytes above 0.")
    if len(body) > limit:
        return WebhookError(
            f"The body of the delivery has {len(body)} bytes, and the limit is {limit}. If such a delivery "
            "is genuine, allow more with max_body_bytes=.",
            reason="too_large",
        )
    return None


def flaw_of_delivery(body: bytes | bytearray, headers: object, secrets: object) -> ThriveError | None:
    """Return what is wrong with the signature among headers; None if nothing is. See `flaw_of_signature`."""
    signature = _signature_of(headers)
    if isinstance(signature, ThriveError):
        return signature
    return flaw_of_signature(body, signature, secrets)


def _signature_of(headers: object) -> str | ThriveError | None:
    """Return the value of the signature header; None if it is missing."""
    pairs: Any = () if headers is None else headers
    if callable(getattr(pairs, "items", None)):
        pairs = pairs.items()  # also for Werkzeug's headers, which iterate as pairs
    found: set[str] = set()
    try:
        for name, value in pairs:
            if _normalized(name) == SIGNATURE_HEADER:
                found.add(_text(value).strip(" \t"))
    except (TypeError, ValueError) as error:
        if interruption(error) is not None:
            raise
        return ConfigurationError(
            f"headers is of type {type(headers).__name__}. Pass a mapping of names to values, or pairs."
        )
    if len(found) > 1:
        return SignatureError(
            f"The delivery has {len(found)} different {SIGNATURE_HEADER} headers. Reject it, and check "
            "whether a proxy adds headers.",
            reason="malformed_signature",
        )
    return next(iter(found), None)


def _normalized(name: object) -> str:
    """Return the name of a header for comparison. WSGI names ours `HTTP_X_HMAC_SIGNATURE`."""
    return _text(name).lower().replace("_", "-").removeprefix("http-")


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def flaw_of_signature(
    body: bytes | bytearray, signature: str | None, secrets: object
) -> ConfigurationError | SignatureError | None:
    """Return why a signature does not match a body with any of the secrets; None if it matches.

    Args:
        body: The body as received.
        signature: The value of the header; None if it is missing.
        secrets: A secret or several, each as text, `Secret`, or a function that returns text.
    """
    known = _known(secrets)
    if isinstance(known, str):
        return ConfigurationError(f"The secret for webhooks cannot be used: {known}.")
    if signature is None:
        return SignatureError(
            f"The delivery has no header {SIGNATURE_HEADER}, so anyone may have sent it. Reject it; if the "
            "subscription has no secret, ask the vendor for one, or use webhooks.parse().",
            reason="missing_signature",
        )
    match = _SIGNATURE.fullmatch(_text(signature))
    if match is None:
        return SignatureError(
            f"The header {SIGNATURE_HEADER} is not 'sha256=' and 64 hexadecimal digits. Reject the delivery, "
            "and check that proxies forward the header unchanged.",
            reason="malformed_signature",
        )
    received = bytes.fromhex(match[1])
    # Compare with all secrets, so that the time does not reveal which one matched.
    matches = [hmac.compare_digest(_digest(secret, body), received) for secret in known]
    if any(matches):
        return None
    which = "the secret" if len(known) == 1 else f"any of the {len(known)} secrets"
    return SignatureError(
        f"The signature of the delivery does not match its body with {which}. Check that the secret "
        "belongs to this subscription, and that the body is passed exactly as received.",
        reason="wrong_signature",
    )


def _digest(secret: Secret, body: bytes | bytearray) -> bytes:
    return hmac.digest(secret.reveal().encode(), body, "sha256")


def _known(secrets: Any) -> tuple[Secret, ...] | str:
    """Return the current secrets, or what is wrong with one, because a frame that raises would show it."""
    if secrets is None:
        return "it is None. Pass the secret that was agreed with the vendor"
    if isinstance(secrets, (str, bytes, Secret)) or callable(secrets):
        secrets = (secrets,)
    try:
        given = tuple(secrets)
    except TypeError as error:
        if interruption(error) is not None:
            raise
        return f"it is of type {type(secrets).__name__}. Pass text, a Secret, or several of them"
    try:
        known = tuple((value if isinstance(value, Secret) else Secret(value)).fixed() for value in given)
    except ConfigurationError as error:
        return str(error)
    return known or "it is missing. Pass the secret that was agreed with the vendor"


class _RepeatedNameError(Exception):
    """An object has two members of the same name. Readers differ in which one counts."""


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(members)
    if len(document) < len(members):
        raise _RepeatedNameError
    return document


_decoder = strict_decoder(_unique)


def read_document(body: bytes | bytearray) -> dict[str, Any] | WebhookError:
    """Return the JSON object of a body, which must have an `eventType`, or what is wrong with it."""
    try:
        read = json_object(bytes(body), _decoder)
    except _RepeatedNameError:
        read = "its body has two members of the same name in one object"
    flaw = read if isinstance(read, str) else _flaw_of_document(read[1])
    if flaw is not None:
        return WebhookError(f"The delivery is not an event: {flaw}. Reject it.", reason="malformed")
    return cast("tuple[str, dict[str, Any]]", read)[1]


def _flaw_of_document(document: dict[str, Any]) -> str | None:
    # Without this check, later steps such as the repr or a pickle of the payload might fail.
    level: list[Any] = [document]
    for _ in range(_MAX_DEPTH):
        level = [member for value in level for member in _members(value)]
        if not level:
            break
    else:
        return "its body is JSON that is nested too deeply"
    event_type = document.get("eventType")
    if isinstance(event_type, str) and event_type:
        return None
    return f"its 'eventType' is {'missing or empty' if not event_type else 'not a string'}"


def _members(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()
