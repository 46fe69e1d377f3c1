"""Explains why no response arrived: the one cause, and the setting to check. Pure."""

import errno
import re
import socket

from thrive_learning._budget import Budget
from thrive_learning._exchange.server_text import show
from thrive_learning._http.port import FailureKind, TransportError
from thrive_learning._settings.proxies import Route
from thrive_learning.errors import TRANSIENT_STATUS_CODES, ConnectionFailedError, DeadlineExceededError

# An illegal header or status line, as h11 quotes it.
_WIRE_BYTES = re.compile(r"(?:bytearray\()?b['\"].*", re.DOTALL)
_CODE = re.compile(r"\[(?:Errno|WinError) (-?\d+)\]")
_PROXY_STATUS = re.compile(r"(\d{3})\b")
_VERIFICATION = re.compile(r"certificate verify failed: (.*?)\.?(?: \(_ssl|$)", re.DOTALL)

# CPython's messages: of `threading` if a limit is reached or the interpreter is exiting, and of
# `concurrent.futures`, which asyncio uses to resolve names, if the interpreter is exiting.
_NO_THREAD = re.compile(
    r"can't (?:start|create) new thread|cannot schedule new futures after|can't register atexit after"
)

_RESOLUTION = frozenset(getattr(socket, name) for name in dir(socket) if name.startswith("EAI_"))
_REFUSED = frozenset({errno.ECONNREFUSED, 10061})  # the second number is Windows' own
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, 10051})

#: The step that failed, by the kind of the failure.
_WHAT: dict[FailureKind, str] = {
    "connect": "connecting failed",
    "proxy": "the proxy did not open a connection",
    "read": "reading failed",
    "write": "sending failed",
    "protocol": "the server broke the HTTP protocol",
    "request": "the request is not valid HTTP",
    "thread": "no thread can be started",
    "timeout": "no response arrived in time",
    "other": "the transport failed",
}


def connection_failure(
    error: TransportError,
    *,
    host: str,
    budget: Budget,
    route: Route | None = None,
    secrets: tuple[str, ...] = (),
) -> ConnectionFailedError:
    """Return the error for an exchange that ended without a response.

    Args:
        error: What the engine raised.
        host: The host that the request was for.
        budget: The call's time limits.
        route: How the request left this machine; None if the caller's own transport decides that.
        secrets: The secrets to mask if a server or a proxy repeats them.
    """
    route = route or Route()
    if error.kind == "timeout" or budget.remaining() <= 0:
        via = "" if route.proxy is None else f", through the proxy {route},"
        return deadline_exceeded(budget, host=f"{host}{via}", phase=error.phase)
    reason, message = _explain(error, host, route, secrets)
    if not message:
        # h11 repeats an illegal header, which may hold a secret of ours.
        said = "" if error.kind == "request" else show(_WIRE_BYTES.sub("…", error.text), secrets).rstrip(".")
        via = "" if route.proxy is None else f" through the proxy {route}"
        message = (
            f"The connection to {host}{via} failed before a response arrived "
            f"({explain(error)}{f': {said}' if said else ''}). Try again later; if this persists, "
            f"check the network{'' if route.proxy is None else ' and the proxy'}."
        )
    failure = ConnectionFailedError(message)
    if reason is not None:
        failure.reason = reason
    return failure


def is_thread_shortage(error: Exception) -> bool:
    """Return whether Python cannot start a thread: a limit is reached, or the interpreter is exiting."""
    return isinstance(error, RuntimeError) and _NO_THREAD.match(str(error)) is not None


def explain(error: TransportError) -> str:
    """Return the step that failed, in our own words."""
    return _WHAT[error.kind]


def _explain(  # noqa: C901, PLR0911 - one branch for each cause
    error: TransportError, host: str, route: Route, secrets: tuple[str, ...]
) -> tuple[str | None, str]:
    """Return the reason and the message; an empty message if the cause is unknown."""
    text = error.text
    if error.kind == "thread":
        return "no_thread", (
            f"Nothing was sent to {host}, because Python cannot start a thread to resolve the host name "
            f"({text}). Raise the limit on threads (ulimit -u, or the pids limit of the container), and make "
            "calls before the program exits."
        )
    if error.kind == "proxy":
        return _explain_proxy(text, host, route, secrets)
    if error.kind not in {"connect", "read", "write"}:
        return None, ""
    said = show(text, secrets)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "certificate", _explain_certificate(text, host, route, secrets)
    is_tls = "[SSL" in text and "UNEXPECTED_EOF" not in text  # that one means a cut connection
    what = "handshake" if error.kind == "connect" else "connection"
    if is_tls and (route.proxy or "").startswith("https:"):
        return "tls", (
            f"The TLS {what} with the proxy {route}, or with {host} through it, failed ({said}). If the "
            "proxy does not speak TLS itself, write its URL with http://."
        )
    if is_tls:
        return "tls", (
            f"The TLS {what} with {host} failed ({said}). Check that the region's URL and port belong to an "
            "HTTPS server" + (f", and that the proxy {route} forwards TLS." if route.proxy else ".")
        )
    match = _CODE.search(text)
    code = int(match[1]) if match else None
    if code not in _RESOLUTION | _REFUSED | _UNREACHABLE:
        return None, ""
    if route.proxy is not None:
        return "proxy", (
            f"The proxy {route} cannot be reached ({said}), so nothing was sent to {host}. Check "
            f"{route.setting}, and that the proxy is running."
        )
    if code in _RESOLUTION:
        return "unknown_host", (
            f"The host name {host} cannot be resolved ({said}). Check the region's URLs and this machine's "
            "DNS; if only a proxy can resolve it, set HTTPS_PROXY."
        )
    if code in _REFUSED:
        return "refused", (
            f"{host} refused the connection ({said}). Check the region's URLs and that the server is running."
        )
    return "unreachable", (
        f"{host} cannot be reached from this machine ({said}). Check the network; if it needs a proxy, set "
        "HTTPS_PROXY."
    )


def _explain_proxy(text: str, host: str, route: Route, secrets: tuple[str, ...]) -> tuple[str, str]:
    match = _PROXY_STATUS.match(text)
    status = int(match[1]) if match else None
    proxy = f"The proxy {route}" if route.proxy else "The proxy"
    if status == 407 or "username/password" in text:  # noqa: PLR2004 - the second is what SOCKS proxies get
        said = "status 407" if status else "SOCKS"
        if route.has_credentials:
            return "proxy_authentication", (
                f"{proxy} did not accept the user name and password in its URL ({said}). Check them in "
                f"{route.setting}; special characters must be percent-encoded."
            )
        url = f"its URL in {route.setting}" if route.setting else "the URL of the transport's proxy"
        return "proxy_authentication", (
            f"{proxy} requires a user name and password ({said}). Put them in {url}, as "
            "in http://user:password@host:port."
        )
    is_transient = status is None or status in TRANSIENT_STATUS_CODES
    return "proxy" if is_transient else "proxy_rejection", (
        f"{proxy} did not open a connection to {host} ({show(text, secrets)}). "
        + (
            "Try again later; if this persists, check the proxy."
            if is_transient
            else f"Check that the proxy allows connections to {host}."
        )
    )


def _explain_certificate(text: str, host: str, route: Route, secrets: tuple[str, ...]) -> str:
    found = _VERIFICATION.search(text)
    why = show(found[1] if found else text, secrets)
    whose = f"{host} or of the proxy {route}" if (route.proxy or "").startswith("https:") else host
    if "mismatch" in why:
        advice = "Check the host in the region's URLs."
    elif "expired" in why or "not yet valid" in why:
        advice = "Check this machine's clock; if it is right, the server needs a new certificate."
    else:
        advice = (
            "If a proxy or a firewall inspects TLS, set SSL_CERT_FILE to the file of its CA, or pass an "
            "ssl.SSLContext as verify=."
        )
    return f"The certificate of {whose} could not be verified (CERTIFICATE_VERIFY_FAILED: {why}). {advice}"


def deadline_exceeded(budget: Budget, *, host: str, phase: str | None = None) -> DeadlineExceededError:
    """Return the error for a call, or one phase of it, that took too long."""
    if phase is None or budget.remaining() <= 0:
        limit = f"Timeout.total={budget.timeout.total:g} s"
    else:
        limit = f"Timeout.{phase}={getattr(budget.timeout, phase):g} s"
    return DeadlineExceededError(
        f"{host} did not answer within {limit}, so the call ended after {budget.elapsed():.2f} s. "
        "Try again later, or allow more time with timeout=."
    )


def reading_exceeds_deadline(budget: Budget, *, host: str) -> DeadlineExceededError:
    """Return the error for a call whose response has too many items to be read in time."""
    return DeadlineExceededError(
        f"{host} sent so many items that they were not read within "
        f"Timeout.total={budget.timeout.total:g} s, so the call ended after {budget.elapsed():.2f} s. Allow "
        "more time with timeout=; if this persists, ask the API's support."
    )


def limit_exceeds_deadline(  # noqa: PLR0913 - the facts of one message
    budget: Budget, *, per_second: float, is_paused: bool, wait_s: float, left_s: float, sent: int
) -> DeadlineExceededError:
    """Return the error for a call that would wait for the rate limit beyond its deadline.

    Args:
        budget: The call's time and attempts.
        per_second: The rate limit.
        is_paused: Whether the server has asked for a pause.
        wait_s: How long the request would wait, in seconds.
        left_s: How long it could have waited, in seconds; 0 if it has waited until the deadline.
        sent: The number of earlier requests of the call.
    """
    limit = f"the rate limit of {per_second:g} request{'' if per_second == 1 else 's'} per second"
    if left_s > 0:
        problem = (
            f"Waiting for {limit} would take {_shown(wait_s)} s, and the call has {_shown(left_s)} s left."
        )
    else:
        problem = f"The call waited for {limit} until Timeout.total={budget.timeout.total:g} s was over."
    if is_paused:
        problem += " The server has asked for a pause."
    earlier = f"{sent} earlier attempt{'' if sent == 1 else 's'} failed" if sent else "nothing was sent"
    return DeadlineExceededError(
        f"{problem} Allow more time with timeout=, or make fewer calls at once; {earlier}."
    )


def _shown(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.3f}"
