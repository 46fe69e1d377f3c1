"""Contracts that the generator ignores in part are rejected, and our facts agree with its code."""

import ast
import copy
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from _thrive_learning_api import contract as facts
from _thrive_learning_api import models as wire

from thrive_learning._contract_model import ContractModel
from tools.contract_checks import NAMES_OF_MODELS
from tools.contract_facts import module_of
from tools.contract_walk import ContractError, class_name, module_name, names_of_values, public_name

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "openapi" / "thrive.yaml").read_text(encoding="utf-8"))

Json = dict[str, Any]


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def query(**more: Any) -> Json:
    return {"name": "ids", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}} | more


def success(schema: Json | None = None, **content: Any) -> Json:
    return {"description": "x", "content": content or {"application/json": {"schema": schema}}}


class Contract:
    """A copy of the contract, and the parts of it that tests change."""

    def __init__(self) -> None:
        self.document = copy.deepcopy(DOCUMENT)
        self.paths: Json = self.document["paths"]
        self.list: Json = self.paths["/activities"]["get"]
        self.get: Json = self.paths["/activity/{id}"]["get"]
        self.schemas: Json = self.document["components"]["schemas"]
        self.fields: Json = self.schemas["Activity"]["properties"]

    def add_parameter(self, parameter: Json) -> object:
        self.list["parameters"].append(parameter)
        return self

    def add_operation(self, method: str = "post", path: str = "/activities", **more: Any) -> None:
        operation = {
            "operationId": "added",
            "tags": ["activity"],
            "responses": {"200": success(ref("Activity"))},
        }
        self.paths.setdefault(path, {})[method] = operation | more

    def add_body(self, schema: Json, *media_types: str, **more: Any) -> None:
        content = {media_type: {"schema": schema, **more} for media_type in media_types}
        self.add_operation(requestBody={"content": content})

    def add_enum(self, *values: Any, **more: Any) -> object:
        self.schemas["Level"] = {"type": "string", "enum": [*values], **more}
        return self


Change = Callable[[Contract], object]


def with_style(style: str) -> Change:
    return lambda contract: contract.add_parameter(query(style=style))


def with_values(*values: Any) -> Change:
    return lambda contract: contract.add_enum(*values)


REFUSED: dict[str, tuple[Change, str]] = {
    # Parameters
    "explode: false": (
        lambda c: c.add_parameter(query(style="form", explode=False)),
        (
            "GET /activities: the generator ignores explode: false of ids, and sends ids=a&ids=b. Describe "
            "it as a string of values that are separated by commas, and join them in the facade."
        ),
    ),
    "explode: false, by reference": (
        lambda c: (
            c.document["components"].update(parameters={"Ids": query(explode=False)}),
            c.add_parameter({"$ref": "#/components/parameters/Ids"}),
        ),
        "GET /activities: the generator ignores explode: false of ids",
    ),
    "explode: false, of a path": (
        lambda c: c.paths["/activities"].update(parameters=[query(explode=False)]),
        "GET /activities: the generator ignores explode: false of ids",
    ),
    "explode: false, of a schema elsewhere": (
        lambda c: (
            c.schemas.update(Ids={"type": "array", "items": {"type": "string"}}),
            c.add_parameter(query(schema=ref("Ids"), explode=False)),
        ),
        "GET /activities: the generator ignores explode: false of ids",
    ),
    **{
        f"style: {style}": (
            with_style(style),
            f"GET /activities: the generator ignores style: {style} of ids. Leave it out.",
        )
        for style in ("spaceDelimited", "pipeDelimited", "deepObject")
    },
    "style: matrix": (
        lambda c: c.get["parameters"][0].update(style="matrix"),
        "GET /activity/{id}: the generator ignores style: matrix of id. Leave it out.",
    ),
    "allowReserved": (
        lambda c: c.add_parameter(query(allowReserved=True)),
        "GET /activities: the generator ignores allowReserved of ids. Leave it out.",
    ),
    "a parameter with content": (
        lambda c: c.add_parameter({"name": "ids", "in": "query", "content": {}}),
        "GET /activities: the generator ignores ids, which has no schema. Give it one.",
    ),
    "an object as a parameter": (
        lambda c: c.add_parameter(query(schema={"type": "object"})),
        "GET /activities: the parameter ids is an object. Name each of its members as a parameter.",
    ),
    "a cookie": (
        lambda c: c.add_parameter({"name": "sid", "in": "cookie", "schema": {"type": "string"}}),
        "GET /activities: the SDK does not send the parameter sid in a cookie. Remove it.",
    ),
    "an array in a header": (
        lambda c: c.add_parameter(query() | {"in": "header"}),
        "GET /activities: the generator does not join the values of ids. Describe it as a string.",
    ),
    "a header that the SDK sends": (
        lambda c: c.add_parameter({"name": "Authorization", "in": "header", "schema": {"type": "string"}}),
        "GET /activities: the SDK sends the header Authorization itself. Remove the parameter.",
    ),
    # Operations
    "an operation without a name": (
        lambda c: c.get.pop("operationId"),
        "GET /activity/{id} has no operationId. Name it, such as getActivity.",
    ),
    "two operations of one module": (
        lambda c: c.add_operation(operationId="get_activity"),
        "two operations become the module get_activity. Rename one of them.",
    ),
    "a method that is not sent": (
        lambda c: c.add_operation("trace"),
        "TRACE /activities: the SDK does not send TRACE. Remove it.",
    ),
    "servers of an operation": (
        lambda c: c.get.update(servers=[{"url": "https://x.example.com"}]),
        "GET /activity/{id}: the generator ignores servers of an operation. Name them at the top alone.",
    ),
    "servers of a path": (
        lambda c: c.paths["/activity/{id}"].update(servers=[{"url": "https://x.example.com"}]),
        "GET /activity/{id}: the generator ignores servers of an operation",
    ),
    # Bodies
    "a multipart body": (
        lambda c: c.add_body(ref("Activity"), "multipart/form-data"),
        (
            "POST /activities: the SDK sends application/json or application/x-www-form-urlencoded, not "
            "multipart/form-data."
        ),
    ),
    "bodies of several types": (
        lambda c: c.add_body(ref("Activity"), "application/json", "application/x-www-form-urlencoded"),
        "POST /activities: the body may be of several types. Leave one of them.",
    ),
    "an encoded body": (
        lambda c: c.add_body(ref("Activity"), "application/json", encoding={}),
        "POST /activities: the generator ignores the encoding of application/json. Leave it out.",
    ),
    "a body in place": (
        lambda c: c.add_body({"type": "object"}, "application/json"),
        "POST /activities describes its body in place. Move the schema to components/schemas.",
    ),
    # Responses
    "no success": (
        lambda c: c.get["responses"].pop("200"),
        "GET /activity/{id} documents no success. Add a response such as '200'.",
    ),
    "a class of statuses": (
        lambda c: c.get["responses"].update({"4XX": success(ref("Error"))}),
        "GET /activity/{id} documents the response '4XX'. Name single statuses, such as '404'.",
    ),
    "a default response": (
        lambda c: c.get["responses"].update(default=success(ref("Error"))),
        "GET /activity/{id} documents the response 'default'. Name single statuses, such as '404'.",
    ),
    "a success that is text": (
        lambda c: c.get["responses"].update({"200": success({"type": "string"})}),
        (
            "GET /activity/{id}, response 200: its body is neither a JSON object nor an array. The SDK "
            "does not read others."
        ),
    ),
    "a success that is not JSON": (
        lambda c: c.get["responses"].update({"200": success(**{"text/csv": {"schema": {"type": "string"}}})}),
        "GET /activity/{id}, response 200: its body is neither a JSON object nor an array",
    ),
    "a success of several types": (
        lambda c: c.get["responses"]["200"]["content"].update({"text/plain": {"schema": {"type": "string"}}}),
        (
            "GET /activity/{id}, response 200: the generator ignores all content types but one. Leave "
            "application/json alone."
        ),
    ),
    "a success in place": (
        lambda c: c.get["responses"].update({"200": success({"type": "object"})}),
        (
            "GET /activity/{id}, response 200 describes its body in place. Move the schema to "
            "components/schemas."
        ),
    ),
    "items in place": (
        lambda c: c.get["responses"].update({"200": success({"type": "array", "items": {"type": "object"}})}),
        "GET /activity/{id}, response 200 describes its items in place",
    ),
    "successes of several schemas": (
        lambda c: c.get["responses"].update({"202": success(ref("Pagination"))}),
        "GET /activity/{id}: its successes have several schemas. Leave one of them, which the SDK reads.",
    ),
    # Enums
    **{
        f"the value {value!r}": (
            with_values("a", value),
            (
                f"Level: the generator names the value {value!r} by its position, so that a value before it "
                "would rename it, or gives it a name that Python does not accept. Name all values with "
                "x-enum-varnames."
            ),
        )
        for value in ("3d", "_x", "", "+1", " a", "-")
    },
    **{
        f"the values {one!r} and {other!r}": (
            with_values(one, other),
            "Level: two values become A_B. Name all values with x-enum-varnames.",
        )
        for one, other in (("a b", "a-b"), ("a.b", "A_B"), ("a_b", "a__b"))
    },
    "too few names of values": (
        lambda c: c.add_enum("a", "b", **{"x-enum-varnames": ["A"]}),
        "Level: the generator ignores x-enum-varnames without a name for each value. Complete it.",
    ),
    "a name of a value that is not one": (
        lambda c: c.add_enum("a", "b", **{"x-enum-varnames": ["A", "2nd"]}),
        "Level: the generator names the value 'b' by its position",
    ),
    "one name of two values": (
        lambda c: c.add_enum(1, 2, type="integer", **{"x-enum-varnames": ["Low", "LOW"]}),
        "Level: two values become LOW. Name all values with x-enum-varnames.",
    ),
    "null among the values": (
        lambda c: c.add_enum("a", None, type=["string", "null"]),
        "Level: the type of an enum is string or integer. Allow null in the field that refers to it.",
    ),
    # Schemas
    "a schema of another name": (
        lambda c: c.schemas.update({"activity-score": {"type": "object"}}),
        "activity-score: the generator calls its class ActivityScore. Name the schema so, without a title.",
    ),
    "a schema with a title": (
        lambda c: c.schemas["Activity"].update(title="Record"),
        "Activity: the generator calls its class Record. Name the schema so, without a title.",
    ),
    "a combination": (
        lambda c: c.schemas.update(Scored={"allOf": [ref("Activity"), ref("Pagination")]}),
        "Scored is a combination of schemas (allOf). Write out its properties.",
    ),
    "described additional properties": (
        lambda c: c.schemas["Activity"].update(additionalProperties={"type": "string"}),
        "Activity: the SDK does not read described additionalProperties. Write true.",
    ),
    "names that collide": (
        lambda c: c.fields.update(context_id={"type": "string"}),
        "Activity: two properties become the attribute context_id. Remove one of them.",
    ),
    "a name that models use": (
        lambda c: c.fields.update(toDict={"type": "string"}),
        "Activity.toDict has a name that every model uses. The SDK cannot read the field.",
    ),
    # Fields
    "a field without a type": (
        lambda c: c.fields.update(score={"description": "x"}),
        (
            "Activity.score has no type, or an unknown one. Choose one of array, boolean, integer, null, "
            "number, object, string."
        ),
    ),
    "a field of an unknown type": (
        lambda c: c.fields.update(score={"type": ["string", "text"]}),
        "Activity.score has no type, or an unknown one",
    ),
    "an enum in place": (
        lambda c: c.fields.update(score={"type": "string", "enum": ["a"]}),
        (
            "Activity.score describes its values in place. Move them to components/schemas, and refer to "
            "them there."
        ),
    ),
    "an object in place": (
        lambda c: c.fields.update(score={"anyOf": [{"type": "null"}, {"type": "object", "properties": {}}]}),
        "Activity.score describes its values in place",
    ),
    "an object in place, in an array": (
        lambda c: c.fields.update(score={"type": "array", "items": {"type": "object", "properties": {}}}),
        "Activity.score[] describes its values in place",
    ),
    "a combination in a field": (
        lambda c: c.fields.update(score={"allOf": [ref("Activity"), ref("Pagination")]}),
        (
            "Activity.score is a combination of schemas (allOf). Move it to components/schemas, and write it "
            "out."
        ),
    ),
    "one of several objects": (
        lambda c: c.fields.update(score={"oneOf": [ref("Error"), ref("Pagination")]}),
        "Activity.score may be one of several objects, and the SDK reads one. Leave one of them.",
    ),
    "one of several enums": (
        lambda c: (c.add_enum("a"), c.fields["type"]["anyOf"].append(ref("Level"))),
        "Activity.type may be one of several enums, and the SDK reads one. Leave one of them.",
    ),
    "one of several arrays": (
        lambda c: c.fields.update(
            score={"anyOf": [{"type": "array", "items": {"type": kind}} for kind in ("string", "integer")]}
        ),
        "Activity.score may be one of several arrays, and the SDK reads one. Leave one of them.",
    ),
    "a date or other text": (
        lambda c: c.fields.update(
            score={"anyOf": [{"type": "string", "format": "date"}, {"type": "string"}]}
        ),
        "Activity.score may be text of several formats, and the SDK reads one. Leave one of them.",
    ),
    "an array without items": (
        lambda c: c.fields.update(score={"type": "array"}),
        "Activity.score has no items. Describe them.",
    ),
    "binary data": (
        lambda c: c.fields.update(score={"type": "string", "format": "binary"}),
        "Activity.score: JSON has no binary data. Remove its format.",
    ),
    "a constant": (
        lambda c: c.fields.update(score={"type": "string", "const": "a"}),
        "Activity.score: the SDK does not read const. Write an enum in components/schemas.",
    ),
    "the null of OpenAPI 3.0": (
        lambda c: c.fields.update(score={"type": "string", "nullable": True}),
        "Activity.score: the SDK does not read nullable. OpenAPI 3.1 says type: [string, 'null'].",
    ),
}


def test_the_contract_itself_is_accepted() -> None:
    assert "OPERATIONS" in module_of(Contract().document)


@pytest.mark.parametrize(("change", "problem"), REFUSED.values(), ids=REFUSED)
def test_unsupported_contracts_are_rejected(change: Change, problem: str) -> None:
    contract = Contract()
    change(contract)
    with pytest.raises(ContractError) as caught:
        module_of(contract.document)
    [line] = str(caught.value).splitlines()
    assert line == problem if problem.endswith(".") else line.startswith(problem)


def test_a_reference_without_a_target_is_refused() -> None:
    contract = Contract()
    contract.fields["score"] = ref("Score")
    with pytest.raises(ContractError, match=r"^#/components/schemas/Score is not in the contract\. Correct"):
        module_of(contract.document)


def test_a_reference_to_itself_is_refused() -> None:
    contract = Contract()
    contract.schemas["Activity"] = ref("Also")
    contract.schemas["Also"] = ref("Activity")
    with pytest.raises(ContractError, match=r"^#/components/schemas/\w+ refers to itself\. Write out"):
        module_of(contract.document)


@pytest.mark.parametrize("document", [None, [1], "text", {"paths": {}}])
def test_another_document_is_refused(document: Any) -> None:
    with pytest.raises(ContractError, match="not an OpenAPI document"):
        module_of(document)


def test_all_problems_are_named_at_once() -> None:
    contract = Contract()
    contract.add_parameter(query(explode=False))
    contract.fields["score"] = {}
    with pytest.raises(ContractError) as caught:
        module_of(contract.document)
    assert len(str(caught.value).splitlines()) == 2


def generate(document: Json, folder: Path) -> subprocess.CompletedProcess[str]:
    """Do what `nox -s generate` does, into a folder."""
    (folder / "contract.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    options = [f"--contract={folder / 'contract.yaml'}", f"--committed={folder / 'generated'}"]
    return subprocess.run(
        [sys.executable, "-m", "tools.generation", "write", *options],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_the_command_names_what_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    contract = Contract()
    contract.add_parameter(query(style="form", explode=False))
    result = generate(contract.document, tmp_path)
    assert result.returncode == 1
    assert "the generator ignores explode: false of ids" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "generated").exists()


# The names that the generator writes


def test_an_operation_has_the_name_of_its_module() -> None:
    modules = {path.stem for path in (ROOT / "generated").glob("*/api/*/[a-z]*.py")}
    assert facts.OPERATIONS.keys() == modules


def test_a_model_has_the_fields_of_its_class() -> None:
    for name, fields in facts.MODELS.items():
        generated = getattr(wire, name)
        parameters = [
            one for one in inspect.signature(generated).parameters if one != "additional_properties"
        ]
        assert {field.name for field in fields} == {public_name(one) for one in parameters}, name


def test_the_names_of_values_are_those_of_the_enum() -> None:
    schema = DOCUMENT["components"]["schemas"]["ActivityType"]
    assert dict(zip(names_of_values(schema), schema["enum"], strict=True)) == {
        member.name: member.value for member in wire.ActivityType
    }


def test_the_names_that_models_use_are_those_of_the_class() -> None:
    own = {name for name in vars(ContractModel) if not name.startswith("_")}
    assert own | {"received", "self"} == NAMES_OF_MODELS


WIRE_NAMES = (
    *("plain", "camelCase", "PascalCase", "snake_case", "kebab-case", "dotted.name", "HTMLBody", "sha256Sum"),
    *("userIDs", "class", "with", "type", "list", "datetime", "true", "_hidden", "1st", "naïve", "a b"),
)
ENUMS: dict[str, Json] = {
    "Plain": {"type": "string", "enum": ["seen", "loggedIn", "a-b", "c d", "e.f", "G", "été", "x1", "c+"]},
    "Numbered": {"type": "integer", "enum": [1, 0, -1, 10]},
    "Named": {
        "type": "string",
        "enum": ["3d", "", "+"],
        "x-enum-varnames": ["ThreeD", "nothing", "PLUS_SIGN"],
    },
    "NamedNumbers": {"type": "integer", "enum": [1, 2], "x-enum-varnames": ["low", "veryHigh"]},
}


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated code for a contract with difficult names and types."""
    folder = tmp_path_factory.mktemp("nasty")
    contract = Contract()
    contract.schemas |= ENUMS
    contract.schemas["Nasty"] = {
        "type": "object",
        "required": ["id", "nullableDate"],
        "additionalProperties": False,
        "properties": {
            "id": {"type": "string"},
            **{name: {"type": "string", "default": "x"} for name in WIRE_NAMES},
            "nullableDate": {"type": ["string", "null"], "format": "date-time"},
            "nullableLevel": {"anyOf": [ref("Numbered"), {"type": "null"}]},
            "days": {"type": "array", "items": {"type": "string", "format": "date"}},
            "itself": {"type": "array", "items": ref("Nasty")},
            "key": {"type": "string", "format": "uuid"},
            "one": {"allOf": [ref("Pagination")]},
            "ratio": {"type": ["number", "null"]},
        },
    }
    contract.add_operation(operationId="readHTMLOfAPIv2", responses={"200": success(ref("Nasty"))})
    result = generate(contract.document, folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "generated" / "_thrive_learning_api"


def fields_of(module: Path, name: str) -> dict[str, str]:
    """Return the annotated names of a class and their annotations, as source."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    [found] = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
    return {
        ast.unparse(node.target): ast.unparse(node.annotation)
        for node in found.body
        if isinstance(node, ast.AnnAssign)
    }


def test_difficult_names_are_those_of_the_generator(nasty: Path) -> None:
    assert (nasty / "api" / "activity" / f"{module_name('readHTMLOfAPIv2')}.py").is_file()
    assert f'"{module_name("readHTMLOfAPIv2")}"' in (nasty / "contract.py").read_text(encoding="utf-8")
    generated = fields_of(nasty / "models" / "nasty.py", "Nasty")
    generated.pop("additional_properties", None)
    typed = fields_of(nasty / "contract.py", "NastyFields")
    assert {public_name(name) for name in generated} == typed.keys()
    assert {public_name(name) for name in WIRE_NAMES} <= typed.keys()
    assert all(name.isidentifier() for name in typed)


def test_difficult_types_are_written(nasty: Path) -> None:
    typed = fields_of(nasty / "contract.py", "NastyFields")
    assert (typed["id"], typed["plain"], typed["class_"]) == ("str", "str | None", "str | None")
    assert typed["nullable_date"] == "dt.datetime | None"
    assert typed["nullable_level"] == "Numbered | None"
    assert typed["days"] == "tuple[dt.date, ...] | None"
    assert typed["itself"] == "tuple[Any, ...] | None"
    assert (typed["key"], typed["ratio"]) == ("uuid.UUID | None", "float | None")
    assert typed["one"] == "Any | None"


def test_the_values_of_enums_have_the_names_that_are_expected(nasty: Path) -> None:
    for name, schema in ENUMS.items():
        tree = ast.parse((nasty / "models" / f"{module_name(name)}.py").read_text(encoding="utf-8"))
        members = {
            ast.unparse(node.targets[0]): ast.literal_eval(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
        }
        assert members == dict(zip(names_of_values(schema), schema["enum"], strict=True)), name
        assert class_name(name) == name


def test_the_written_module_can_be_imported(nasty: Path) -> None:
    code = "from _thrive_learning_api.contract import MODELS, OPERATIONS; print(MODELS['Nasty'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=nasty.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "wire_name='nullableDate', json_types=('string', 'null'), form='date-time'" in done.stdout
