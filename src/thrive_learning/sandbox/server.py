"""Serve the sandbox over HTTP, with the contract and a page to try it. It needs the extra `sandbox`."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import unquote

import anyio
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from thrive_learning._version import __version__
from thrive_learning.sandbox.contract import served_contract
from thrive_learning.sandbox.core import Sandbox
from thrive_learning.sandbox.faults import KINDS, SandboxReply
from thrive_learning.sandbox.faulty import FaultySandbox
from thrive_learning.sandbox.hosts import OwnHosts, in_origin_form
from thrive_learning.sandbox.messages import SandboxRequest, as_json, completed, error_response

#: The paths of `Region.custom` below the server's URL.
API_PATH = "/rest/v1"
TOKEN_PATH = "/oauth2/token/{tenant_id}"  # noqa: S105 - a path
WEBHOOKS_TOKEN_PATH = "/webhooks/oauth2/token/{tenant_id}"  # noqa: S105 - a path

_VIEWER = Path(__file__).with_name("viewer")
#: The browser enforces that the page fetches nothing from other servers.
_SELF_ONLY = {
    "content-security-policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff",
}
_ASSETS = ("sandbox.css", "start.js", "swagger-ui-bundle.js", "swagger-ui.css", "theme.js")
_MOST_RECORDS_SHOWN = 100
_LARGEST_BODY_BYTES = 1_000_000
_SHUTDOWN_S = 1

OnReply = Callable[[SandboxRequest, SandboxReply], object]


def region_urls(url: str) -> dict[str, str]:
    """Return the URLs of a server, by the names of the arguments of `Region.custom`."""
    return {
        "api_url": f"{url}{API_PATH}",
        "token_url": f"{url}{TOKEN_PATH}",
        "webhooks_token_url": f"{url}{WEBHOOKS_TOKEN_PATH}",
    }


def client_variables(url: str, sandbox: Sandbox) -> dict[str, str]:
    """Return the environment variables for a client of a server, with OAuth."""
    names = ("tenant_id", "client_id", "client_secret")
    settings = {**region_urls(url), **{name: getattr(sandbox, name) for name in names}}
    return {f"THRIVE_{name.upper()}": value for name, value in settings.items()}


class SandboxApp(Router):
    """An ASGI application that serves a sandbox.

    Args:
        sandbox: The sandbox. It can be replaced at any time.
        on_reply: Called with each API request and its reply, before the reply is sent.

    Attributes:
        clock: Returns the time in Unix seconds, which decides whether tokens have expired. It can be
            replaced.

    Source:
        https://asgi.readthedocs.io/en/latest/specs/www.html
    """

    def __init__(self, sandbox: FaultySandbox, *, on_reply: OnReply = lambda _request, _reply: None) -> None:
        self.sandbox: FaultySandbox = sandbox
        self.clock: Callable[[], float] = time.time
        self._on_reply = on_reply
        routes = [
            Route("/", self._page),
            Route("/health", _health),
            Route("/openapi.yaml", self._contract),
            Route("/viewer/sandbox.json", self._about),
            *(Route(f"/viewer/{name}", _file(name)) for name in _ASSETS),
        ]
        super().__init__(routes, redirect_slashes=False, default=self._api)

    async def _page(self, _request: Request) -> Response:
        return FileResponse(_VIEWER / "index.html", headers=_SELF_ONLY)

    async def _contract(self, request: Request) -> Response:
        core = self.sandbox.sandbox
        url = str(request.base_url).rstrip("/")
        [example_id, *_] = [*(record_id for record_id, _ in core.collection.some(1)), "0" * 24]
        text = served_contract(url, core, example_id)
        return PlainTextResponse(text, media_type="application/yaml")  # RFC 9512

    async def _about(self, _request: Request) -> Response:
        """Respond with the data for the page."""
        core = self.sandbox.current
        names = ("tenant_id", "api_secret", "client_id", "client_secret")
        records = core.collection
        about = {
            "credentials": {name: getattr(core, name) for name in names},
            "records": {
                "count": len(records),
                "shown": [
                    {"id": key, "type": record.get("type")}
                    for key, record in records.some(_MOST_RECORDS_SHOWN)
                ],
            },
            "faults": {
                "kinds": [
                    {"name": name, "meaning": kind.meaning, "duration": kind.duration}
                    for name, kind in KINDS.items()
                ],
                "waiting": [str(fault) for fault in self.sandbox.script],
            },
        }
        # Not JSONResponse, which cannot send a lone surrogate, which a record may contain.
        return Response(as_json(about), media_type="application/json")

    async def _api(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(Request(scope, receive))
        request = _sandbox_request(scope, body or b"")
        if body is None:
            problem = error_response(413, f"The body has more than {_LARGEST_BODY_BYTES} bytes")
            reply = SandboxReply(completed(problem, request, self.clock()))
        else:
            reply = self.sandbox.reply(request, now=self.clock())
        self._on_reply(request, reply)
        if reply.delay_s:
            await anyio.sleep(reply.delay_s)
        await _send(reply, send)


async def _health(_request: Request) -> Response:
    # For programs that wait until the server is up. It needs no credentials, and has no faults, no log, and
    # no rate limit.
    health = {"status": "ok", "sandbox": True, "version": __version__}
    return JSONResponse(health, headers={"cache-control": "no-store"})


def _file(name: str) -> Callable[[Request], Response]:
    def respond(_request: Request) -> Response:
        return FileResponse(_VIEWER / name, headers={"x-content-type-options": "nosniff"})

    return respond


def _sandbox_request(scope: Scope, body: bytes) -> SandboxRequest:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        # RFC 9110, section 5.3
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    query = scope["query_string"].decode("latin-1")
    target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    return SandboxRequest(scope["method"], target, headers, body)


async def _body(request: Request) -> bytes | None:
    """Return the whole body; None if it is too large. A client that disconnects gets no response anyway."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_BODY_BYTES:
                return None
    except ClientDisconnect:
        pass
    return body


async def _send(reply: SandboxReply, send: Send) -> None:
    response = reply.response
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    # uvicorn closes the connection if a response is not completed.
    body = response.body[: len(response.body) // 2] if reply.is_cut else response.body
    await send({"type": "http.response.body", "body": body, "more_body": reply.is_cut})


def _with_own_hosts_only(app: ASGIApp, hosts: OwnHosts) -> ASGIApp:
    """Wrap an application to reject requests that name another host."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        target = scope["raw_path"].decode("latin-1")
        named = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host"]
        if not named and scope["http_version"] == "1.0":
            # As the health checks of some load balancers. HTTP/1.0 has no Host, but browsers always send it.
            named = ["localhost"]
        problem = hosts.problem(named, target)
        if problem is not None:
            await _send(SandboxReply(error_response(*problem)), send)
            return
        path = in_origin_form(target)
        await app({**scope, "raw_path": path.encode("latin-1"), "path": unquote(path)}, receive, send)

    return answer


class SandboxServer:
    """A server for a sandbox. Creating it binds the port.

    As a context manager, it serves from a thread. `run` serves in the current thread until a signal stops it.
    If no thread can be started, entering the context closes the port and raises Python's RuntimeError.

    Args:
        app: The application.
        host: The name or address to listen on.
        port: The port; 0 for a free one.
        allowed_hosts: Host names that requests may use besides `host`, its address, and localhost.

    Raises:
        OSError: The address cannot be bound.
    """

    def __init__(
        self, app: SandboxApp, *, host: str = "127.0.0.1", port: int = 0, allowed_hosts: Sequence[str] = ()
    ) -> None:
        [(family, *_, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        address_text = str(address[0])
        # The address that stands for all of IPv6 stands for all of IPv4 as well, where the system can.
        is_dual = address_text == "::" and socket.has_dualstack_ipv6()
        bound = socket.create_server(address[:2], family=family, dualstack_ipv6=is_dual)
        # asyncio sets TCP_NODELAY only on sockets that are known to be TCP. Without it, a response is sent in
        # two parts, and on a connection that is kept alive the second waits 40 ms for an acknowledgment.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=bound.detach())
        self.app: SandboxApp = app
        config = uvicorn.Config(
            _with_own_hosts_only(app, OwnHosts((host, address_text), allowed_hosts)),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # uvicorn would log a cut body as an error
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # the sandbox sends its own date, which may be wrong
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None
        # The client sends credentials over plain HTTP only to a loopback address.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address_text, host)  # noqa: S104 - replaced, not bound
        host = f"[{host}]" if ":" in host else host  # a name may stand for an IPv6 address
        #: The URL of the server for clients on this machine, without a slash at the end.
        self.url: str = f"http://{host}:{self._socket.getsockname()[1]}"

    def run(self) -> None:
        """Serve until SIGINT, after which it returns, or another signal."""
        try:
            self._server.run(sockets=[self._socket])
        except KeyboardInterrupt:
            pass
        finally:
            self._socket.close()

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self.run, name="thrive-sandbox", daemon=True)
        try:
            thread.start()
        except BaseException:
            self._socket.close()
            raise
        self._thread = thread
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
