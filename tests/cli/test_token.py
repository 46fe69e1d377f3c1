"""`thrive token` and `thrive regions`."""

import datetime as dt
import json

import pytest
import respx
from command import Call
from harness import token_response

from thrive_learning import Region

TOKEN_URL = "https://public.api.learn.link/oauth2/token/eu-west-2_AbcdEfghI"


@pytest.mark.usefixtures("oauth")
def test_a_token_is_masked_unless_it_is_to_be_revealed(call: Call, terminal: Call) -> None:
    with respx.mock() as api:
        minted = api.post(TOKEN_URL).mock(return_value=token_response("fake-token", scope="api/read api/x"))
        code, out, err = call("token", "--scope", "api/read", "--scope", "api/write")
        assert b"scope=api%2Fread+api%2Fwrite" in minted.calls.last.request.content
        assert (code, err) == (0, "")
        document = json.loads(out)
        expires_at = dt.datetime.fromisoformat(document.pop("expires_at"))
        assert expires_at.tzinfo is not None
        assert document == {
            "service": "api",
            "access_token": "**********",
            "token_type": "Bearer",
            "scopes": ["api/read", "api/x"],
        }
        assert json.loads(call("token", "--reveal").out)["access_token"] == "fake-token"
        table = terminal("token").out
        assert table.startswith("service       api\naccess_token  **********\n")
        assert "\nscopes        api/read api/x\n" in table
        assert "access_token  fake-token\n" in terminal("token", "--reveal").out
        assert "fake-token" not in terminal("token", "-v").err


@pytest.mark.usefixtures("oauth")
def test_a_token_for_webhooks(call: Call) -> None:
    with respx.mock() as api:
        url = TOKEN_URL.replace("public.api.learn.link", "user.api.meastaging.learn.tech")
        api.post(url).mock(return_value=token_response())
        arguments = ("token", "--service", "webhooks", "--region", "staging-mea")
        assert json.loads(call(*arguments).out)["scopes"] == ["api/webhooks"]


@pytest.mark.usefixtures("basic")
def test_http_basic_has_no_tokens(call: Call) -> None:
    code, out, err = call("token")
    assert (code, out) == (2, "")
    assert "BasicCredentials have no access tokens" in err


def test_the_regions(call: Call, terminal: Call) -> None:
    document = json.loads(call("regions").out)
    assert [region["name"] for region in document] == [
        "production",
        "staging",
        "production-mea",
        "staging-mea",
    ]
    for region in document:
        urls = (region["api_url"], region["token_url"], region["webhooks_token_url"])
        assert urls == Region.parse(region["name"]).urls
    table = terminal("regions").out
    assert "region    staging\napi       https://public.api.learnstaging.link/rest/v1\n" in table
    assert max(map(len, table.splitlines())) <= 80
