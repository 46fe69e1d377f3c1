"""`Activity` as a type in pydantic and FastAPI, neither of which the package needs."""

import json
import subprocess
import sys
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from harness import ACTIVITY_ID, PAGE_EXAMPLE
from pydantic import BaseModel, TypeAdapter, ValidationError

from thrive_learning import Activity, ThriveClient

RECORD = PAGE_EXAMPLE | {"contentType": "video", "name": None}


class Report(BaseModel):
    title: str
    activity: Activity
    others: list[Activity] = []
    best: Activity | None = None


@pytest.mark.parametrize("given", [RECORD, Activity.from_dict(RECORD)], ids=["JSON", "an instance"])
def test_a_model_has_a_record(given: Any) -> None:
    report = Report(title="x", activity=given, others=[given], best=None)
    assert isinstance(report.activity, Activity)
    assert report.activity.context_id == PAGE_EXAMPLE["contextId"]
    assert report.model_dump()["activity"] == RECORD
    assert json.loads(report.model_dump_json())["others"] == [RECORD]
    again = Report.model_validate_json(report.model_dump_json())
    assert again == report
    assert [problem.field for problem in again.activity.problems] == ["contentType", "name"]


def test_an_instance_stays_the_same_object() -> None:
    activity = Activity.from_dict(RECORD)
    assert TypeAdapter(Activity).validate_python(activity) is activity


@pytest.mark.parametrize("wrong", [{}, {"id": 5}, {"id": " "}, "x", [RECORD], None, {1: 2}])
def test_a_value_that_is_not_a_record_is_a_validation_error(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Activity).validate_python(wrong)
    with pytest.raises(ValidationError):
        TypeAdapter(Activity).validate_json(json.dumps(wrong))


def test_the_error_says_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match="the field 'id' is missing"):
        Report(title="x", activity={"type": "viewed"})  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_the_schema_is_that_of_the_contract(mode: Any, contract: dict[str, Any]) -> None:
    schema = TypeAdapter(Activity).json_schema(mode=mode)
    described = contract["components"]["schemas"]["Activity"]
    assert schema["properties"].keys() == described["properties"].keys()
    assert schema["required"] == described["required"] == ["id"]
    assert schema["properties"]["id"] == {"type": "string", "pattern": r"\S"}
    assert schema["properties"]["contextId"] == {"type": "string"}
    assert schema["properties"]["date"] == {"type": "string", "format": "date-time"}
    assert sorted(kind["type"] for kind in schema["properties"]["with"]["anyOf"]) == ["null", "object"]


def test_fastapi_returns_records() -> None:
    app = FastAPI()

    @app.get("/annotated/{activity_id}")
    def annotated(activity_id: str) -> Activity:
        with ThriveClient.sandbox() as client:
            return client.activities.get(activity_id)

    @app.get("/model", response_model=list[Activity])
    async def model() -> Any:
        return [RECORD]

    async def answers(*paths: str) -> list[Any]:
        # FastAPI's own test client needs another library with each version.
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return [(await client.get(path)).json() for path in paths]

    record, records, document = anyio.run(answers, f"/annotated/{ACTIVITY_ID}", "/model", "/openapi.json")
    assert (record, records) == (PAGE_EXAMPLE, [RECORD])
    content = document["paths"]["/annotated/{activity_id}"]["get"]["responses"]["200"]["content"]
    assert content["application/json"]["schema"]["properties"]["user"] == {"type": "string"}


def test_pydantic_is_loaded_only_if_it_asks() -> None:
    code = (
        "import sys, thrive_learning as t\n"
        "t.Activity.from_dict(t.ThriveClient.sandbox().activities.get('60d5ec49b60b4b3a2c8f9a10').to_dict())\n"
        "assert not {name for name in sys.modules if name.startswith('pydantic')}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
