from pathlib import Path

import pytest
import yaml
from harness import ROOT
from openapi_spec_validator import validate

from thrive_learning.sandbox import Sandbox, contract

URL = "http://127.0.0.1:8000"


def served(sandbox: Sandbox | None = None) -> dict[str, object]:
    document: dict[str, object] = yaml.safe_load(
        contract.served_contract(URL, sandbox or Sandbox(), "f" * 24)
    )
    return document


def test_only_servers_and_examples_of_parameters_differ_from_the_contract() -> None:
    document = yaml.safe_load((ROOT / "openapi/thrive.yaml").read_text(encoding="utf-8"))
    document["servers"] = [{"url": f"{URL}/rest/v1", "description": "This sandbox", "x-region": "sandbox"}]
    document["paths"]["/activity/{id}"]["get"]["parameters"][0]["example"] = "f" * 24
    for parameter in document["paths"]["/activities"]["get"]["parameters"]:
        parameter.pop("example", None)
    oauth2 = document["components"]["securitySchemes"]["oauth2"]
    oauth2["flows"]["clientCredentials"]["tokenUrl"] = f"{URL}/oauth2/token/sandbox-1_ExampleOrg"
    oauth2["x-token-urls"] = {
        "sandbox": {
            "api": f"{URL}/oauth2/token/:tenantId",
            "webhooks": f"{URL}/webhooks/oauth2/token/:tenantId",
        }
    }

    assert served() == document
    assert "learn.link" not in str(served()["servers"]) + str(oauth2)


def test_it_is_valid() -> None:
    validate(served())


def test_the_tenant_is_escaped() -> None:
    assert "/oauth2/token/a%20b%2Fc" in str(served(Sandbox(tenant_id="a b/c")))


def test_a_wheel_has_it_beside_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_wheel = tmp_path / "thrive.yaml"
    in_a_wheel.write_bytes((ROOT / "openapi/thrive.yaml").read_bytes() + b"x-wheel: true\n")
    monkeypatch.setattr(contract, "_PLACES", (in_a_wheel, contract._PLACES[1]))
    contract._text.cache_clear()
    try:
        assert served()["x-wheel"] is True
    finally:
        contract._text.cache_clear()
