# ruff: noqa: E501 - whole messages, as users see them

import re

import pytest

from thrive_learning import RetryPolicy, Timeout
from thrive_learning._budget import Budget
from thrive_learning._exchange.failures import connection_failure, is_thread_shortage
from thrive_learning._http.port import FailureKind, Phase, TransportError
from thrive_learning._settings.proxies import Route
from thrive_learning.errors import ConnectionFailedError, DeadlineExceededError

PROXY = Route("http://proxy.example:3128", "HTTPS_PROXY")
OVER_TLS = Route("https://proxy.example:3128", "proxy=")
VERIFY = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {} (_ssl.c:1006)"
WRONG_VERSION = "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"


KINDS: tuple[FailureKind, ...] = ("connect", "read", "write")


def failure(error: TransportError, route: Route | None = None) -> ConnectionFailedError:
    budget = Budget(Timeout(), RetryPolicy())
    return connection_failure(error, host="api.example", budget=budget, route=route, secrets=("canary",))


@pytest.mark.parametrize(
    ("error", "route", "reason", "said"),
    [
        (
            TransportError("connect", "[Errno 111] Connection refused"),
            Route(),
            "refused",
            (
                "api.example refused the connection ([Errno 111] Connection refused). Check the region's URLs and "
                "that the server is running."
            ),
        ),
        (
            TransportError("connect", "[Errno 111] Connection refused"),
            PROXY,
            "proxy",
            (
                "The proxy http://proxy.example:3128 (from HTTPS_PROXY) cannot be reached ([Errno 111] Connection "
                "refused), so nothing was sent to api.example. Check HTTPS_PROXY, and that the proxy is running."
            ),
        ),
        (
            TransportError("connect", "[Errno -2] Name or service not known"),
            None,
            "unknown_host",
            (
                "The host name api.example cannot be resolved ([Errno -2] Name or service not known). Check the "
                "region's URLs and this machine's DNS; if only a proxy can resolve it, set HTTPS_PROXY."
            ),
        ),
        (
            TransportError("connect", "[Errno -2] Name or service not known"),
            PROXY,
            "proxy",
            "cannot be reached",
        ),
        (
            TransportError("connect", "[Errno 101] Network is unreachable"),
            Route(),
            "unreachable",
            (
                "api.example cannot be reached from this machine ([Errno 101] Network is unreachable). Check the "
                "network; if it needs a proxy, set HTTPS_PROXY."
            ),
        ),
        *(
            (
                TransportError(kind, "[Errno 113] No route to host"),
                Route(),
                "unreachable",
                "cannot be reached",
            )
            for kind in KINDS
        ),
        (
            TransportError("thread", "can't start new thread"),
            Route(),
            "no_thread",
            (
                "Nothing was sent to api.example, because Python cannot start a thread to resolve the host name "
                "(can't start new thread). Raise the limit on threads (ulimit -u, or the pids limit of the container), "
                "and make calls before the program exits."
            ),
        ),
        (TransportError("connect", "[Errno 113] No route to host"), PROXY, "proxy", "cannot be reached"),
        (
            TransportError("connect", VERIFY.format("self-signed certificate in certificate chain")),
            Route(),
            "certificate",
            (
                "The certificate of api.example could not be verified (CERTIFICATE_VERIFY_FAILED: self-signed "
                "certificate in certificate chain). If a proxy or a firewall inspects TLS, set SSL_CERT_FILE to "
                "the file of its CA, or pass an ssl.SSLContext as verify=."
            ),
        ),
        (
            TransportError("connect", VERIFY.format("x")),
            OVER_TLS,
            "certificate",
            "of api.example or of the proxy https:",
        ),
        (
            TransportError("connect", VERIFY.format("x")),
            PROXY,
            "certificate",
            "The certificate of api.example could",
        ),
        (
            TransportError(
                "connect", VERIFY.format("Hostname mismatch, certificate is not valid for 'api.example'.")
            ),
            Route(),
            "certificate",
            "not valid for 'api.example'). Check the host in the region's URLs.",
        ),
        (
            TransportError("connect", VERIFY.format("certificate has expired")),
            Route(),
            "certificate",
            "expired). Check this machine's clock; if it is right, the server needs a new certificate.",
        ),
        (
            TransportError("connect", VERIFY.format("certificate is not yet valid")),
            Route(),
            "certificate",
            "not yet valid). Check this machine's clock;",
        ),
        (
            TransportError("connect", "CERTIFICATE_VERIFY_FAILED"),
            Route(),
            "certificate",
            "FAILED: CERTIFICATE_VERIFY",
        ),
        (TransportError("connect", WRONG_VERSION), Route(), "tls", "belong to an HTTPS server."),
        (
            TransportError("connect", WRONG_VERSION),
            PROXY,
            "tls",
            "and that the proxy http://proxy.example:3128",
        ),
        (
            TransportError("read", "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed"),
            Route(),
            "tls",
            "The TLS connection with api.example failed (",
        ),
        (
            TransportError("connect", WRONG_VERSION),
            OVER_TLS,
            "tls",
            (
                "The TLS handshake with the proxy https://proxy.example:3128 (from proxy=), or with api.example through "
                "it, failed ([SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)). If the proxy does not speak "
                "TLS itself, write its URL with http://."
            ),
        ),
        (
            TransportError("proxy", "407 Proxy Authentication Required"),
            PROXY,
            "proxy_authentication",
            (
                "The proxy http://proxy.example:3128 (from HTTPS_PROXY) requires a user name and password (status "
                "407). Put them in its URL in HTTPS_PROXY, as in http://user:password@host:port."
            ),
        ),
        (
            TransportError("proxy", "407 no"),
            PROXY._replace(has_credentials=True),
            "proxy_authentication",
            "did not accept the user name and password in its URL (status 407). Check them in HTTPS_PROXY;",
        ),
        (
            TransportError("proxy", "Invalid username/password."),
            PROXY,
            "proxy_authentication",
            "password (SOCKS).",
        ),
        (
            TransportError("proxy", "407 no"),
            None,
            "proxy_authentication",
            (
                "The proxy requires a user name and password (status 407). Put them in the URL of the transport's "
                "proxy, as in http://user:password@host:port."
            ),
        ),
        (
            TransportError("proxy", "403 canary is not allowed"),
            PROXY,
            "proxy_rejection",
            (
                "did not open a connection to api.example (403 ********** is not allowed). Check that the proxy "
                "allows connections to api.example."
            ),
        ),
        (TransportError("proxy", "502 Bad Gateway"), PROXY, "proxy", "(502 Bad Gateway). Try again later;"),
        (
            TransportError("proxy", "General SOCKS server failure"),
            PROXY,
            "proxy",
            "(General SOCKS server failure).",
        ),
        (
            TransportError("read", "[Errno 104] Connection reset by peer"),
            Route(),
            None,
            (
                "The connection to api.example failed before a response arrived (reading failed: [Errno 104] Connection "
                "reset by peer). Try again later; if this persists, check the network."
            ),
        ),
        (
            TransportError("protocol", "Server disconnected without sending a response."),
            PROXY,
            None,
            (
                "The connection to api.example through the proxy http://proxy.example:3128 (from HTTPS_PROXY) "
                "failed before a response arrived (the server broke the HTTP protocol: Server disconnected without sending a "
                "response). Try again later; if this persists, check the network and the proxy."
            ),
        ),
        (
            TransportError("connect", "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF"),
            Route(),
            None,
            "(connecting failed: [SSL:",
        ),
        (TransportError("connect", ""), Route(), None, "(connecting failed)."),
        (
            TransportError("other", "RuntimeError: [Errno 111] canary"),
            Route(),
            None,
            "(the transport failed: RuntimeError: [Errno 111] **********).",
        ),
        (
            TransportError("request", "Illegal header value b'Bearer x'"),
            Route(),
            None,
            "(the request is not valid HTTP).",
        ),
        (
            TransportError("protocol", "illegal status line: bytearray(b'x')"),
            Route(),
            None,
            "status line: …).",
        ),
    ],
)
def test_a_failure_names_its_cause_and_the_setting_to_look_at(
    error: TransportError, route: Route | None, reason: str | None, said: str
) -> None:
    found = failure(error, route)
    assert type(found) is ConnectionFailedError
    assert said in str(found)
    assert found.reason == reason
    assert found.is_transient is (reason not in {"certificate", "proxy_authentication", "proxy_rejection"})
    assert not re.search(r"\. [A-Z].*\. [A-Z]", str(found))  # two sentences at most


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (TransportError("timeout", phase="connect"), "connect"),
        (TransportError("timeout", phase="read"), "read"),
        (TransportError("timeout", phase="write"), "write"),
        (TransportError("timeout", phase="pool"), "pool"),
    ],
)
def test_a_time_limit_is_named_with_the_proxy(error: TransportError, phase: str) -> None:
    direct, proxied = failure(error), failure(error, PROXY)
    assert type(direct) is type(proxied) is DeadlineExceededError
    assert str(direct).startswith(f"api.example did not answer within Timeout.{phase}=")
    assert str(proxied).startswith(
        "api.example, through the proxy http://proxy.example:3128 (from HTTPS_PROXY),"
    )
    assert (direct.reason, direct.is_transient) == ("timeout", True)
    assert str(direct).endswith(" s. Try again later, or allow more time with timeout=.")


class Standing(Budget):
    left_s = 0.0

    def remaining(self) -> float:
        return self.left_s


@pytest.mark.parametrize(
    ("kind", "phase", "left_s", "limit"),
    [
        ("read", None, 0.0, "total=60"),
        ("read", None, 0.5, None),
        ("timeout", "read", 0.0, "total=60"),
        ("timeout", "read", 0.5, "read=30"),
        ("timeout", None, 0.5, "total=60"),
    ],
)
def test_which_time_limit_has_passed(
    kind: FailureKind, phase: Phase | None, left_s: float, limit: str | None
) -> None:
    budget = Standing(Timeout(), RetryPolicy())
    budget.left_s = left_s
    found = connection_failure(TransportError(kind, phase=phase), host="api.example", budget=budget)
    assert isinstance(found, DeadlineExceededError) is (limit is not None)
    assert limit is None or f"did not answer within Timeout.{limit} s," in str(found)


def test_pythons_messages_about_a_thread_that_cannot_start() -> None:
    for text in ("can't start new thread", "cannot schedule new futures after interpreter shutdown"):
        assert is_thread_shortage(RuntimeError(text))
        assert not is_thread_shortage(ValueError(text))
    assert not is_thread_shortage(RuntimeError("the loop is closed"))
