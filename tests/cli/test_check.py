import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from command import OAUTH, Call
from harness import ACTIVITY_ID, PAGE_EXAMPLE, page_response, token_response

from thrive_learning.sandbox import Sandbox
from thrive_learning.sandbox.faulty import FaultySandbox
from thrive_learning.sandbox.server import SandboxApp, SandboxServer

NOT_FOUND = httpx.Response(404, json={"status": 404, "message": "Activity not found"})
SANDBOX_TABLE = """\
STATUS   CHECK         DETAIL
ok       region        sandbox: sandbox.invalid
ok       credentials   OAuth, tenant sandbox-1_ExampleOrg, client
                       sandbox-client, client_auth auto; the API accepts them,
                       and rejects made-up ones
skipped  proxy         the transport that was passed to the client decides
skipped  certificates  the transport that was passed to the client decides
"""


def to_ours(response: httpx.Response) -> Callable[[httpx.Request], httpx.Response]:
    """Respond to the credentials of these tests, and reject made-up ones."""
    refusal = httpx.Response(401, json={"status": 401, "message": "no"})
    return lambda request: response if request.headers["authorization"] == "Bearer fake-token" else refusal


@pytest.fixture
def api() -> Iterator[respx.MockRouter]:
    """All regions accept the credentials."""
    with respx.mock(assert_all_called=False) as router:
        router.post(url__regex=r"/oauth2/token/|//long\.").mock(return_value=token_response())
        router.get(url__regex=rf"/activity/{ACTIVITY_ID}$").mock(side_effect=to_ours(page_response()))
        router.get(url__regex=r"/activity/0{24}$").mock(side_effect=to_ours(NOT_FOUND))
        yield router


def as_json(call: Call, *arguments: str) -> tuple[int, dict[str, Any], str]:
    code, out, err = call("check", *arguments)
    return code, json.loads(out), err


def test_the_sandbox(call: Call, terminal: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    code, document, err = as_json(call, "--sandbox")
    assert (code, err) == (0, "")
    assert (document["ok"], document["region"], document["settings"]) == (True, "sandbox", [])
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = terminal("check", ACTIVITY_ID, "--sandbox")
    assert (code, err) == (0, "")
    assert out.startswith(SANDBOX_TABLE)
    assert f"ok       record        activity {ACTIVITY_ID} can be read" in out


@pytest.mark.usefixtures("oauth", "api")
def test_it_says_where_each_setting_comes_from(
    call: Call, terminal: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[default]\nregion = "staging"\napi_secret = "canary"\n')
    path.chmod(0o644)
    monkeypatch.setenv("THRIVE_CONFIG_FILE", str(path))
    monkeypatch.setenv("THRIVE_SCOPE", "api/all")
    code, document, err = as_json(call, ACTIVITY_ID, "--region", "production-mea")
    assert (code, err, document["ok"]) == (0, "", True)
    assert document["settings"] == [
        {
            "key": "region",
            "value": "production-mea",
            "source": "--region",
            "shadowed": [f"profile 'default' in {path}:2"],
        },
        {
            "key": "tenant_id",
            "value": "eu-west-2_AbcdEfghI",
            "source": "THRIVE_TENANT_ID",
            "shadowed": [],
        },
        {"key": "client_id", "value": "fake-client", "source": "THRIVE_CLIENT_ID", "shadowed": []},
        {"key": "client_secret", "value": "**********", "source": "THRIVE_CLIENT_SECRET", "shadowed": []},
        {
            "key": "api_secret",
            "value": "(not used)",
            "source": "THRIVE_CLIENT_ID",
            "shadowed": [f"profile 'default' in {path}:3"],
        },
    ]
    misspelt, exposed = document["warnings"]
    assert misspelt == "THRIVE_SCOPE is not a setting (did you mean THRIVE_SCOPES?)"
    assert exposed.startswith(f"other users can read api_secret in {path}. Run chmod go=")
    monkeypatch.setenv("COLUMNS", "300")
    out = terminal("check").out
    assert "SETTING        VALUE                FROM\n" in out
    assert f"\nregion         staging              profile 'default' in {path}:2\n" in out
    assert f"(not used)           THRIVE_CLIENT_ID; overrides profile 'default' in {path}:3\n" in out
    assert "\nwarning  settings      THRIVE_SCOPE is not a setting" in out
    assert "canary" not in out + json.dumps(document)


@pytest.mark.usefixtures("oauth")
@pytest.mark.parametrize(
    ("token", "read", "code", "failed"),
    [
        (httpx.Response(401, json={"error": "invalid_client"}), page_response(), 4, "credentials, token"),
        (httpx.Response(501), page_response(), 6, "token"),
        (token_response(scope=""), page_response(), 4, "scopes"),
        (token_response(), NOT_FOUND, 3, "record"),
        (token_response(), httpx.Response(403), 4, "record"),
        (token_response(scope=""), httpx.Response(403), 4, "scopes, record"),
    ],
    ids=range(6),
)
def test_the_exit_code_is_that_of_the_first_failure(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    token: httpx.Response,
    read: httpx.Response,
    code: int,
    failed: str,
) -> None:
    monkeypatch.setattr("thrive_learning._exchange.attempts.time.sleep", lambda _delay: None)
    with respx.mock(assert_all_called=False) as router:
        router.post(url__regex="/token/").mock(return_value=token)
        router.get(url__regex="/activity/").mock(side_effect=to_ours(read))
        ended, document, err = as_json(call, ACTIVITY_ID)
    assert (ended, document["ok"]) == (code, False)
    assert err == f"thrive: error: check failed: {failed}\n"


@pytest.mark.usefixtures("oauth")
@pytest.mark.parametrize(
    ("token", "read", "code", "unknown"),
    [
        (httpx.Response(503), NOT_FOUND, 6, "region, credentials, token"),
        (httpx.Response(429), NOT_FOUND, 5, "region, credentials, token"),
        (token_response(), httpx.Response(503), 6, "region, credentials, api"),
        (token_response(), NOT_FOUND, 11, "region, credentials, api"),
    ],
    ids=range(4),
)
def test_a_check_that_cannot_find_out_does_not_succeed(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    token: httpx.Response,
    read: httpx.Response,
    code: int,
    unknown: str,
) -> None:
    monkeypatch.setattr("thrive_learning._exchange.attempts.time.sleep", lambda _delay: None)
    with respx.mock(assert_all_called=False) as router:
        router.post(url__regex="/token/").mock(return_value=token)
        router.get(url__regex="/activity/").mock(return_value=read)  # for all credentials
        ended, document, err = as_json(call)
    assert (ended, document["ok"]) == (code, False)
    assert err == f"thrive: error: could not check: {unknown}\n"


def test_another_path_of_the_sandbox_is_not_green(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials are made up as well."""
    with SandboxServer(SandboxApp(FaultySandbox(Sandbox()))) as server:
        for name, value in {
            "API_URL": f"{server.url}/rest/v2",
            "TOKEN_URL": f"{server.url}/oauth2/token/{{tenant_id}}",
            "WEBHOOKS_TOKEN_URL": f"{server.url}/webhooks/oauth2/token/{{tenant_id}}",
            "TENANT_ID": "tenant",
            "API_SECRET": "fake",
        }.items():
            monkeypatch.setenv(f"THRIVE_{name}", value)
        code, document, err = as_json(call)
    assert (code, document["ok"]) == (6, False)
    assert err == "thrive: error: check failed: api\n"
    [api] = [finding for finding in document["findings"] if finding["subject"] == "api"]
    assert f"{server.url}/rest/v2/activity/{'0' * 24} answered 404" in api["detail"]


def test_a_server_of_files_is_not_green(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "activity").mkdir()
    (tmp_path / "activity" / ACTIVITY_ID).write_text(json.dumps(PAGE_EXAMPLE))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        for name, value in {"TENANT_ID": "tenant", "API_SECRET": "fake", "API_URL": url}.items():
            monkeypatch.setenv(f"THRIVE_{name}", value)
        for name in ("THRIVE_TOKEN_URL", "THRIVE_WEBHOOKS_TOKEN_URL"):
            monkeypatch.setenv(name, f"{url}/{{tenant_id}}")
        without, with_id = as_json(call), as_json(call, ACTIVITY_ID)
        server.shutdown()
    assert (without[0], without[1]["ok"]) == (6, False)
    assert (with_id[0], with_id[1]["ok"]) == (11, False)
    assert with_id[2] == "thrive: error: could not check: credentials\n"


def refusing_but(accepting: str, router: respx.MockRouter) -> respx.Route:
    router.post(url__startswith=f"https://public.api.{accepting}/").mock(return_value=token_response())
    router.get(url__startswith=f"https://public.api.{accepting}/").mock(side_effect=to_ours(NOT_FOUND))
    return router.post(url__regex="/token/").mock(
        return_value=httpx.Response(400, json={"error": "invalid_client"})
    )


@pytest.mark.usefixtures("oauth")
def test_credentials_go_to_other_regions_only_with_try_regions(call: Call, terminal: Call) -> None:
    with respx.mock(assert_all_called=False) as router:
        refused = refusing_but("learnstaging.link", router)
        code, document, _ = as_json(call)
        assert (code, document["other_regions"], refused.call_count) == (4, [], 2)
        assert "--try-regions" not in json.dumps(document)
        [token] = [finding for finding in document["findings"] if finding["subject"] == "token"]
        assert "If they were issued for another region (staging," in token["detail"]
        code, document, _ = as_json(call, "--try-regions")
        assert code == 4
        assert [(place["region"], place["accepted"]) for place in document["other_regions"]] == [
            ("staging", True),
            ("production-mea", False),
            ("staging-mea", False),
        ]
        assert document["other_regions"][0]["detail"] == "accepts the credentials. Use --region staging"
        out = terminal("check", "--try-regions").out
    assert "\nok        staging         accepts the credentials. Use --region staging\n" in out
    assert "\nrejected  staging-mea     " in out


@pytest.mark.usefixtures("oauth")
def test_a_region_that_accepts_made_up_credentials_is_unknown(call: Call, terminal: Call) -> None:
    with respx.mock(assert_all_called=False) as router:
        router.get(url__regex=r"/activity/0{24}$").mock(return_value=NOT_FOUND)  # for all credentials
        refusing_but("learnstaging.link", router)
        _, document, _ = as_json(call, "--try-regions")
        out = terminal("check", "--try-regions").out
    [staging] = [place for place in document["other_regions"] if place["region"] == "staging"]
    assert (staging["accepted"], "may not be the API" in staging["detail"]) == (None, True)
    assert "\nunknown   staging         a server that may not be the API" in out


@pytest.mark.usefixtures("oauth", "api")
def test_other_regions_are_not_asked_without_need(
    call: Call, api: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert as_json(call, "--try-regions")[1]["other_regions"] == []
    assert len(api.calls) == 3
    for name, path in (("API", "rest/v1"), ("TOKEN", "{tenant_id}"), ("WEBHOOKS_TOKEN", "{tenant_id}")):
        monkeypatch.setenv(f"THRIVE_{name}_URL", f"https://a.example/{path}")
    api.post(url__startswith="https://a.example").mock(return_value=httpx.Response(401))
    code, document, _ = as_json(call, "--try-regions")
    assert (code, document["region"], document["other_regions"]) == (4, "custom", [])


def test_settings_that_are_none_are_an_error(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THRIVE_CLIENT_ID", OAUTH["THRIVE_CLIENT_ID"])
    code, out, err = call("check")
    assert (code, out) == (2, "")
    assert err.startswith("thrive: error: THRIVE_CLIENT_ID needs THRIVE_CLIENT_SECRET and THRIVE_TENANT_ID")


@pytest.mark.usefixtures("oauth", "api")
@pytest.mark.parametrize("columns", [80, 160])
def test_it_fits_into_the_terminal(
    call: Call, terminal: Call, monkeypatch: pytest.MonkeyPatch, columns: int, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    (tmp_path / "config.toml").write_text('[default]\nregion = "staging"\n')
    monkeypatch.setenv("THRIVE_CONFIG_FILE", str(tmp_path / "config.toml"))
    fitting = terminal("check").out
    monkeypatch.setenv("THRIVE_TENANT_ID", "eu-west-2_" + "AbcdEfghI" * 20)
    for name, path in (("API", "rest/v1"), ("TOKEN", "{tenant_id}"), ("WEBHOOKS_TOKEN", "{tenant_id}")):
        monkeypatch.setenv(f"THRIVE_{name}_URL", f"https://{'long.' * 30}example/{path}")
    long = terminal("check").out
    for out in (fitting, long):
        assert max(map(len, out.splitlines())) <= columns
        assert out.splitlines()[0].startswith("SETTING")
    # Wrapped text continues in its own column.
    lines = long.splitlines()
    [continued] = [lines[n + 1] for n, line in enumerate(lines) if line.startswith("tenant_id ")]
    assert len(continued) - len(continued.lstrip()) == lines[0].index("VALUE")
    assert max(map(len, call("check", "-o", "table").out.splitlines())) <= columns


def test_colors_are_for_terminals_that_support_them(
    call: Call, terminal: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" not in terminal("check", "--sandbox").out
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    coloured = terminal("check", "--sandbox").out
    assert coloured.startswith("\x1b[1mSTATUS")
    assert "\n\x1b[32mok\x1b[0m       region" in coloured
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in terminal("check", "--sandbox").out
    monkeypatch.undo()
    assert "\x1b" not in call("check", "--sandbox", "-o", "table").out
