"""`thrive token`, `thrive regions` and `thrive completion`."""

import datetime as dt
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_read_its_script(call: Call, shell: str) -> None:
    code, out, _ = call("completion", shell)
    assert code == 0
    assert "_THRIVE_COMPLETE" in out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=out, check=True, text=True)


def test_what_a_shell_asks_is_answered(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[work]\n[home]\n[web]\n")
    monkeypatch.setenv("THRIVE_CONFIG_FILE", str(tmp_path / "config.toml"))
    monkeypatch.setenv("_THRIVE_COMPLETE", "bash_complete")

    def complete(line: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - (not line.endswith(" "))))
        return re.findall(r"plain,(.+)", call().out)

    assert complete("thrive act") == ["activity"]
    assert complete("thrive token --region st") == ["staging", "staging-mea"]
    assert complete("thrive check --profile w") == ["work", "web"]
    (tmp_path / "config.toml").write_text("broken")
    assert complete("thrive check --profile w") == []
    assert "_THRIVE_COMPLETE" in os.environ
