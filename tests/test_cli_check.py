import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from command import OAUTH, Call
from harness import ACTIVITY_ID, page_response, token_response

NOT_FOUND = httpx.Response(404, json={"status": 404, "message": "Activity not found"})
SANDBOX_TABLE = """\
STATUS   CHECK         DETAIL
ok       region        sandbox: sandbox.invalid
ok       credentials   OAuth, tenant sandbox-1_ExampleOrg, client
                       sandbox-client, client_auth auto
skipped  proxy         the transport that the client was given decides
skipped  certificates  the transport that the client was given decides
"""


@pytest.fixture
def api() -> Iterator[respx.MockRouter]:
    """All is well, in every region."""
    with respx.mock(assert_all_called=False) as router:
        router.post(url__regex=r"/oauth2/token/").mock(return_value=token_response())
        router.get(url__regex=rf"/activity/{ACTIVITY_ID}$").mock(return_value=page_response())
        router.get(url__regex=r"/activity/0{24}$").mock(return_value=NOT_FOUND)
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
    assert f"(not used)           THRIVE_CLIENT_ID; shadows profile 'default' in {path}:3\n" in out
    assert "\nwarning  settings      THRIVE_SCOPE is not a setting" in out
    assert "canary" not in out + json.dumps(document)


@pytest.mark.usefixtures("oauth")
@pytest.mark.parametrize(
    ("token", "read", "code", "failed"),
    [
        (httpx.Response(401, json={"error": "invalid_client"}), page_response(), 4, "token"),
        (httpx.Response(500), page_response(), 6, "token"),
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
    monkeypatch.setattr("thrive_learning._http.time.sleep", lambda _delay: None)
    with respx.mock(assert_all_called=False) as router:
        router.post(url__regex="/token/").mock(return_value=token)
        router.get(url__regex="/activity/").mock(return_value=read)
        ended, document, err = as_json(call, ACTIVITY_ID)
    assert (ended, document["ok"]) == (code, False)
    assert err == f"thrive: error: the check failed: {failed}\n"


def refusing_but(accepting: str, router: respx.MockRouter) -> respx.Route:
    router.post(url__startswith=f"https://public.api.{accepting}/").mock(return_value=token_response())
    router.get(url__startswith=f"https://public.api.{accepting}/").mock(return_value=NOT_FOUND)
    return router.post(url__regex="/token/").mock(
        return_value=httpx.Response(400, json={"error": "invalid_client"})
    )


@pytest.mark.usefixtures("oauth")
def test_credentials_go_to_other_regions_only_for_the_asking(call: Call, terminal: Call) -> None:
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
        assert document["other_regions"][0]["detail"] == "accepts them: use --region staging"
        out = terminal("check", "--try-regions").out
    assert "\nok       staging         accepts them: use --region staging\n" in out
    assert "\nrefused  staging-mea     " in out


@pytest.mark.usefixtures("oauth", "api")
def test_other_regions_are_not_asked_without_need(
    call: Call, api: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert as_json(call, "--try-regions")[1]["other_regions"] == []
    assert len(api.calls) == 2
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
    # What is wrapped continues under its own column.
    lines = long.splitlines()
    [continued] = [lines[n + 1] for n, line in enumerate(lines) if line.startswith("tenant_id ")]
    assert len(continued) - len(continued.lstrip()) == lines[0].index("VALUE")
    assert max(map(len, call("check", "-o", "table").out.splitlines())) <= columns


def test_colours_are_for_terminals_that_may_have_them(
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
