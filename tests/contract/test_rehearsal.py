"""Changes of the contract: what follows by itself, what fails until a person acts, and how much that takes.

Each runs on a copy of the repository. The numbers of lines are those that CONTRIBUTING.md states.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT
from rehearsal import ALL, FOLLOWING, NAMES, OPERATIONS, Copy, Edit, failed, in_query, stated, succeeded


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


# A field


def test_a_field(copy: Copy) -> None:
    copy.schemas["Activity"]["properties"]["deviceName"] = {"type": ["string", "null"], "description": "x"}
    succeeded(copy.generate())

    use = 'print(make_activity(device_name="x"))'
    page = (ROOT / "docs" / "how-to" / "regenerate.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^TypeError: .*Activity\.score.*$", page, re.MULTILINE)
    failed(copy.run("ThriveClient.sandbox()"), shown.replace("score", "device_name"))
    failed(copy.run(f"from thrive_learning.testing import make_activity\n{use}"), "device_name")

    last = "    with_: dict[str, Any] | None = None\n"
    copy.edit([Edit("models.py", last, f"{last}    device_name: str | None = None\n")])
    failed(copy.test(*NAMES), "describe each field in the docstring of Activity")
    entry = "        with_: Free-form additional context (`with` on the wire).\n"
    copy.edit([Edit("models.py", entry, f"{entry}        device_name: The device on which it was done.\n")])
    assert copy.handwritten_lines() == {"models.py": stated("an optional field")}

    succeeded(copy.test(*FOLLOWING))
    failed(copy.test("tests/contract/test_document.py"), "test_it_holds_the_nine_fields", "1 failed")
    succeeded(
        copy.run(
            """
from thrive_learning.testing import ThriveSandbox

for value, read, kinds in (("x", "x", []), (None, None, []), (5, None, ["wrong_type"])):
    for activity in both(
        lambda client: client.activities.get(ID),
        lambda request: httpx.Response(200, json={"id": ID, "deviceName": value}),
    ):
        assert activity.device_name == read
        assert [problem.kind for problem in activity.problems] == kinds
        assert activity.to_dict() == {"id": ID, "deviceName": value}
        assert Activity.from_dict(activity.to_dict()) == activity

sandbox = ThriveSandbox()
added = sandbox.add(device_name="Ada's phone")
with sandbox.client() as client:
    assert client.activities.get(added.id).device_name == "Ada's phone"
"""
        )
    )


#: For each JSON type, the name and the Python type of a field.
FIELDS = {
    "number": ("score", "float"),
    "integer": ("attempts", "int"),
    "boolean": ("passed", "bool"),
    "string": ("device", "str"),
    "array": ("tags", "tuple[str, ...]"),
    "object": ("place", "dict[str, Any]"),
}


def test_a_field_of_each_json_type(copy: Copy) -> None:
    last, entry = "    with_: dict[str, Any] | None = None\n", "        with_: Free-form additional context"
    attributes, entries = last, ""
    for kind, (name, python_type) in FIELDS.items():
        for is_nullable in (False, True):
            field = f"nullable_{name}" if is_nullable else name
            schema: dict[str, Any] = {"type": [kind, "null"] if is_nullable else kind, "description": "x"}
            if kind == "array":
                schema["items"] = {"type": "string"}
            copy.schemas["Activity"]["properties"][field] = schema
            attributes += f"    {field}: {python_type} | None = None\n"
            entries += f"        {field}: A field.\n"
    succeeded(copy.generate())
    copy.edit([Edit("models.py", last, attributes), Edit("models.py", entry, entries + entry)])
    succeeded(copy.test(*FOLLOWING))


# A value of an enum


def test_a_value_of_an_enum(copy: Copy) -> None:
    copy.schemas["ActivityType"]["enum"].insert(0, "applauded")
    succeeded(copy.generate())
    assert copy.handwritten_lines() == {}
    assert stated("a value of an enum") == 0
    succeeded(
        copy.run(
            """
for activity in both(
    lambda client: client.activities.get(ID),
    lambda request: httpx.Response(200, json={"id": ID, "type": "applauded"}),
):
    assert activity.type is ActivityType.APPLAUDED
    assert activity.problems == ()
assert ActivityType.VIEWED == "viewed"
"""
        )
    )


def test_a_value_that_would_be_named_by_its_position(copy: Copy) -> None:
    copy.schemas["ActivityType"]["enum"].insert(0, "360-video")
    failed(copy.generate(), "the generator names the value '360-video' by its position", "x-enum-varnames")
    enum = copy.schemas["ActivityType"]
    enum["x-enum-varnames"] = ["VIDEO_360", *(str(value).upper() for value in enum["enum"][1:])]
    succeeded(copy.generate())
    succeeded(copy.run('assert ActivityType.VIDEO_360 == "360-video" and ActivityType.VIEWED == "viewed"'))


# A status


def test_a_documented_status(copy: Copy) -> None:
    responses = copy.document["components"]["responses"]
    responses["Gone"] = {**responses["Conflict"], "description": "The record was deleted."}
    gone = {"$ref": "#/components/responses/Gone"}
    copy.document["paths"]["/activity/{id}"]["get"]["responses"]["410"] = gone
    succeeded(copy.generate())
    failed(copy.test(*OPERATIONS), "give each documented status a class in _exchange/messages.py", "410")

    copy.edit(
        [
            Edit(
                "errors.py",
                "class UnprocessableError(ApiError):\n",
                'class GoneError(ApiError):\n    """410: the record was deleted."""\n\n\n'
                "class UnprocessableError(ApiError):\n",
            ),
            Edit(
                "_exchange/messages.py",
                "    ForbiddenError,\n    NotFoundError,\n",
                "    ForbiddenError,\n    GoneError,\n    NotFoundError,\n",
            ),
            Edit(
                "_exchange/messages.py",
                "    409: ConflictError,\n",
                "    409: ConflictError,\n    410: GoneError,\n",
            ),
            Edit(
                "__init__.py",
                "        ForbiddenError,\n",
                "        ForbiddenError,\n        GoneError,\n",
            ),
            Edit("__init__.py", '\n    "ForbiddenError",\n', '\n    "ForbiddenError",\n    "GoneError",\n'),
            Edit(
                "__init__.py",
                '\n        "ForbiddenError",\n',
                '\n        "ForbiddenError",\n        "GoneError",\n',
            ),
        ]
    )
    assert sum(copy.handwritten_lines().values()) == stated("a documented status")
    succeeded(copy.test(*ALL))
    succeeded(
        copy.run(
            """
body = {"status": 410, "error": "Gone", "message": "deleted"}
errors = error_of(
    lambda client: client.activities.get(ID), lambda request: httpx.Response(410, json=body)
)
assert [type(error) for error in errors] == [GoneError, GoneError]
"""
        )
    )


def test_a_class_whose_status_is_no_longer_documented(copy: Copy) -> None:
    for path in copy.document["paths"].values():
        path["get"]["responses"].pop("409", None)
    succeeded(copy.generate())
    failed(copy.test(*OPERATIONS), "give each documented status a class in _exchange/messages.py", "409")


# Parts that the generator ignores


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda copy: copy.document["paths"]["/activities"]["get"]["parameters"].append(
                in_query("ids", "array") | {"style": "form", "explode": False}
            ),
            "the generator ignores explode: false of ids, and sends ids=a&ids=b. Describe it as",
        ),
        (
            lambda copy: copy.schemas["Activity"]["properties"].update(score={"description": "x"}),
            "Activity.score has no type, or an unknown one",
        ),
    ],
)
def test_parts_of_a_contract_that_the_generator_ignores(
    copy: Copy, change: Callable[[Copy], object], says: str
) -> None:
    change(copy)
    failed(copy.generate(), says)
    assert (copy.root / "generated").is_dir()
