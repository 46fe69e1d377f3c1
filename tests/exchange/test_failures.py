# ruff: noqa: E501 - whole messages, as users see them

import re

import pytest

from thrive_learning import RetryPolicy, Timeout
from thrive_learning._budget import Budget
from thrive_learning._exchange.failures import connection_failure
from thrive_learning._http.port import TransportError
from thrive_learning._settings.proxies import Route
from thrive_learning.errors import ConnectionFailedError, DeadlineExceededError

PROXY = Route("http://proxy.example:3128", "HTTPS_PROXY")
OVER_TLS = Route("https://proxy.example:3128", "proxy=")
VERIFY = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {} (_ssl.c:1006)"
WRONG_VERSION = "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"


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
            "Check the network",
        ),
        (TransportError("connect", "[Errno 113] No route to host"), PROXY, "proxy", "cannot be reached"),
        (
            TransportError("connect", VERIFY.format("self-signed certificate in certificate chain")),
            Route(),
            "certificate",
            (
                "The certificate of api.example could not be verified (CERTIFICATE_VERIFY_FAILED: self-signed "
                "certificate in certificate chain). If a proxy or a firewall inspects TLS, name the file of its CA "
                "in SSL_CERT_FILE, or pass an ssl.SSLContext as verify=."
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
            "Check this machine's clock; if it is right, the server needs a new certificate.",
        ),
        (
            TransportError("connect", "CERTIFICATE_VERIFY_FAILED"),
            Route(),
            "certificate",
            "FAILED: CERTIFICATE_VERIFY",
        ),
        (TransportError("connect", WRONG_VERSION), Route(), "tls", "are those of an HTTPS server."),
        (
            TransportError("connect", WRONG_VERSION),
            PROXY,
            "tls",
            "and that the proxy http://proxy.example:3128",
        ),
        (TransportError("connect", WRONG_VERSION), OVER_TLS, "tls", "write its URL with http://."),
        (
            TransportError("proxy", "407 Proxy Authentication Required"),
            PROXY,
            "proxy_authentication",
            (
                "The proxy http://proxy.example:3128 (from HTTPS_PROXY) asks for a user name and a password (status "
                "407). Put them into its URL in HTTPS_PROXY, as in http://user:password@host:port."
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
            "into the URL of the transport's proxy",
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
