"""A change of the contract is named, and it is known whether it breaks callers."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import contract_comparison
from tools.changes import Change, Impact
from tools.contract_comparison import Comparison

HARMLESS, ADDITION, BREAKING = Impact.HARMLESS, Impact.ADDITION, Impact.BREAKING

DOCUMENT: dict[str, Any] = yaml.safe_load("""
openapi: 3.1.1
info: {title: Things, version: 1.0.0}
servers:
  - {url: https://api.example, x-region: production}
security: [{basic: []}, {oauth: [read]}]
paths:
  /things:
    parameters:
      - {name: tenant, in: header, schema: {type: string}}
    get:
      operationId: listThings
      summary: List things
      parameters:
        - {name: page, in: query, schema: {type: integer, minimum: 1, maximum: 10, default: 1}}
        - {name: kind, in: query, required: true, schema: {type: string, enum: [a, b]}}
        - {name: key, in: query, schema: {type: [string, integer], pattern: ^a}}
      responses:
        '200':
          description: Things.
          headers: {X-Count: {schema: {type: integer}}, X-Total: {required: true}}
          content: {application/json: {schema: {$ref: '#/components/schemas/Thing'}}}
        '404': {description: No thing.}
    post:
      operationId: addThing
      requestBody:
        content: {application/json: {schema: {$ref: '#/components/schemas/NewThing'}}}
      responses:
        '204': {description: Added.}
components:
  schemas:
    Thing:
      type: object
      required: [id]
      additionalProperties: true
      properties:
        id: {type: string, description: The ID.}
        kind: {type: string, enum: [a, b]}
        date: {type: string, format: date}
        size: {type: integer, maximum: 9}
        either: {anyOf: [{type: string}, {type: integer}]}
        parts: {allOf: [{type: object}]}
        children: {type: array, items: {$ref: '#/components/schemas/Thing'}}
    NewThing:
      type: object
      required: [name]
      properties:
        name: {type: string}
        note: {type: string, maxLength: 9}
        either: {oneOf: [{type: string}, {type: integer}]}
        all: {allOf: [{type: string}]}
        parts: {allOf: [{$ref: '#/components/schemas/Part'}, {type: object}]}
        pick: {$ref: '#/components/schemas/Pick', default: x}
    Part: {type: object, properties: {a: {type: string}}}
    Pick: {type: string, enum: [x, y]}
  securitySchemes:
    basic: {type: http, scheme: basic, description: Basic.}
    oauth:
      type: oauth2
      flows: {clientCredentials: {tokenUrl: https://token.example, scopes: {read: Read things.}}}
      x-service-scopes: {api: [read]}
""")


def changes_of(edit: Callable[[dict[str, Any]], object]) -> list[Change]:
    new = copy.deepcopy(DOCUMENT)
    edit(new)
    return list(Comparison(DOCUMENT, new).changes())


def get(document: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = document["paths"]["/things"]["get"]
    return operation


def post(document: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = document["paths"]["/things"]["post"]
    return operation


def parameter(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in get(document)["parameters"] if item["name"] == name)
    return found


def received(document: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = document["components"]["schemas"]["Thing"]
    return schema


def sent(document: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = document["components"]["schemas"]["NewThing"]
    return schema


def headers(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = get(document)["responses"]["200"]["headers"]
    return found


def pick(document: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = document["components"]["schemas"]["Pick"]
    return schema


def oauth(document: dict[str, Any]) -> dict[str, Any]:
    scheme: dict[str, Any] = document["components"]["securitySchemes"]["oauth"]
    return scheme


OK = "GET /things, status 200"
BODY = "POST /things, request body"
TABLE: list[tuple[str, Callable[[dict[str, Any]], object], str, Impact]] = [
    (
        "operation",
        lambda d: d["paths"]["/things"].pop("post"),
        "operation POST /things was removed",
        BREAKING,
    ),
    ("path", lambda d: d["paths"].update({"/x": {"get": {}}}), "operation GET /x was added", ADDITION),
    ("openapi", lambda d: d.update(openapi="3.1.0"), "openapi is 3.1.0 instead of 3.1.1", HARMLESS),
    ("ID", lambda d: get(d).update(operationId="x"), "GET /things has the operationId x instead", BREAKING),
    ("deprecated", lambda d: get(d).update(deprecated=True), "GET /things is deprecated", ADDITION),
    ("tag", lambda d: get(d).update(tags=["x"]), "only descriptions and examples changed", HARMLESS),
    # Parameters
    ("gone", lambda d: get(d)["parameters"].pop(0), "query parameter page was removed", BREAKING),
    ("shared", lambda d: d["paths"]["/things"].pop("parameters"), "header parameter tenant was", BREAKING),
    (
        "optional",
        lambda d: get(d)["parameters"].append({"name": "x", "in": "query"}),
        "query parameter x was added, optional",
        ADDITION,
    ),
    (
        "required",
        lambda d: get(d)["parameters"].append({"name": "x", "in": "query", "required": True}),
        "query parameter x was added, required",
        BREAKING,
    ),
    ("now", lambda d: parameter(d, "page").update(required=True), "page is required now", BREAKING),
    ("loose", lambda d: parameter(d, "kind").update(required=False), "kind is optional now", ADDITION),
    ("old", lambda d: parameter(d, "page").update(deprecated=True), "page is deprecated", ADDITION),
    ("true", lambda d: parameter(d, "page")["schema"].update(default=True), "the default True", BREAKING),
    ("style", lambda d: parameter(d, "kind").update(explode=False), "kind explode is False", BREAKING),
    # Requests
    ("minimum", lambda d: parameter(d, "page")["schema"].update(minimum=2), "the minimum 2", BREAKING),
    ("lower", lambda d: parameter(d, "page")["schema"].pop("minimum"), "minimum None instead of 1", HARMLESS),
    ("maximum", lambda d: parameter(d, "page")["schema"].update(maximum=9), "the maximum 9", BREAKING),
    ("higher", lambda d: parameter(d, "page")["schema"].update(maximum=11), "the maximum 11", HARMLESS),
    ("default", lambda d: parameter(d, "page")["schema"].update(default=2), "the default 2", BREAKING),
    ("fewer", lambda d: parameter(d, "kind")["schema"]["enum"].pop(), "value 'b' was removed", BREAKING),
    ("more", lambda d: parameter(d, "kind")["schema"]["enum"].append("c"), "value 'c' was added", ADDITION),
    ("free", lambda d: parameter(d, "kind")["schema"].pop("enum"), "not limited to certain values", HARMLESS),
    ("enum", lambda d: parameter(d, "key")["schema"].update(enum=["a"]), "limited to certain", BREAKING),
    ("const", lambda d: parameter(d, "key")["schema"].update(const="a"), "limited to certain", BREAKING),
    ("type", lambda d: parameter(d, "key")["schema"].update(type="string"), "has the type string", BREAKING),
    ("wider", lambda d: parameter(d, "page")["schema"].update(type="number"), "or number", HARMLESS),
    ("any", lambda d: parameter(d, "page")["schema"].pop("type"), "has the type any", HARMLESS),
    ("other", lambda d: parameter(d, "page")["schema"].update(type="string"), "the type string", BREAKING),
    ("pattern", lambda d: parameter(d, "key")["schema"].update(pattern="^b"), "the pattern ^b", BREAKING),
    ("no pattern", lambda d: parameter(d, "key")["schema"].pop("pattern"), "the pattern None", HARMLESS),
    ("new pattern", lambda d: parameter(d, "kind")["schema"].update(pattern="a"), "pattern a", BREAKING),
    ("field", lambda d: sent(d)["properties"].pop("note"), f"{BODY}, field note was removed", BREAKING),
    ("new field", lambda d: sent(d)["properties"].update(x={}), "field x was added, optional", ADDITION),
    (
        "required field",
        lambda d: (sent(d)["properties"].update(x={}), sent(d).update(required=["name", "x"])),
        f"{BODY}, field x was added, required",
        BREAKING,
    ),
    ("must", lambda d: sent(d).update(required=["name", "note"]), "field note is required now", BREAKING),
    ("may", lambda d: sent(d).pop("required"), "field name is optional now", HARMLESS),
    ("closed", lambda d: sent(d).update(additionalProperties=False), "does not allow other", BREAKING),
    ("schema", lambda d: sent(d).update(additionalProperties={}), "another rule for other fields", BREAKING),
    ("branch", lambda d: sent(d)["properties"]["either"]["oneOf"].pop(), "oneOf integer was rem", BREAKING),
    ("all", lambda d: sent(d)["properties"]["all"]["allOf"].append({"pattern": "a"}), "allOf any", BREAKING),
    ("none", lambda d: sent(d)["properties"]["all"].pop("allOf"), "allOf was removed", HARMLESS),
    ("keyword", lambda d: sent(d).update({"if": {}}), "if is {} instead of None", BREAKING),
    ("sibling", lambda d: sent(d)["properties"]["pick"].update(default="y"), "the default 'y'", BREAKING),
    ("sibling enum", lambda d: sent(d)["properties"]["pick"].update(enum=["x"]), "'y' was removed", BREAKING),
    ("names", lambda d: pick(d).update({"x-enum-varnames": ["A", "B"]}), "x-enum-varnames is", BREAKING),
    ("part", lambda d: sent(d)["properties"]["parts"]["allOf"].pop(0), "allOf Part was removed", BREAKING),
    ("parts", lambda d: sent(d)["properties"]["parts"].pop("allOf"), "allOf was removed", BREAKING),
    ("no part", lambda d: sent(d)["properties"]["parts"]["allOf"].pop(), "allOf object was rem", HARMLESS),
    ("unknown", lambda d: sent(d).update(required=["name", "x"]), "field x is required now", BREAKING),
    (
        "encoding",
        lambda d: post(d)["requestBody"]["content"]["application/json"].update(encoding={}),
        "application/json encoding is {}",
        BREAKING,
    ),
    ("body", lambda d: post(d).pop("requestBody"), f"{BODY} was removed", BREAKING),
    ("new body", lambda d: get(d).update(requestBody={}), "request body was added", ADDITION),
    ("needed", lambda d: get(d).update(requestBody={"required": True}), "request body was added", BREAKING),
    ("must send", lambda d: post(d)["requestBody"].update(required=True), "body is required now", BREAKING),
    ("media", lambda d: post(d)["requestBody"].update(content={}), "application/json was removed", BREAKING),
    # Responses
    ("absent", lambda d: received(d)["properties"].pop("date"), f"{OK}, field date was removed", BREAKING),
    ("present", lambda d: received(d)["properties"].update(x={}), f"{OK}, field x was added", ADDITION),
    ("sure", lambda d: received(d).update(required=["id", "date"]), "date is required now", HARMLESS),
    ("unsure", lambda d: received(d).pop("required"), f"{OK}, field id is optional now", BREAKING),
    ("format", lambda d: received(d)["properties"]["date"].update(format="date-time"), "format", BREAKING),
    ("no format", lambda d: received(d)["properties"]["date"].pop("format"), "the format None", BREAKING),
    ("new format", lambda d: received(d)["properties"]["id"].update(format="uuid"), "format uuid", BREAKING),
    ("any format", lambda d: received(d)["properties"]["id"].update(format="x"), "the format x", HARMLESS),
    (
        "fields of a branch",
        lambda d: received(d)["properties"]["parts"]["allOf"].append({"$ref": "#/components/schemas/Part"}),
        "parts, allOf Part was added",
        ADDITION,
    ),
    (
        "fields of a union",
        lambda d: received(d)["properties"]["id"].update(allOf=[{"$ref": "#/components/schemas/Part"}]),
        "id, allOf was added",
        ADDITION,
    ),
    ("false", lambda d: received(d)["properties"].update(id=False), "has the type any", BREAKING),
    ("header type", lambda d: headers(d)["X-Count"].update(schema={"type": "string"}), "X-Count", BREAKING),
    ("old header", lambda d: headers(d)["X-Count"].update(deprecated=True), "Count is deprec", ADDITION),
    (
        "an unsure header",
        lambda d: headers(d).update({"X-Total": {}}),
        "header X-Total is optional now",
        BREAKING,
    ),
    ("a sure header", lambda d: headers(d)["X-Count"].update(required=True), "is required now", HARMLESS),
    ("bigger", lambda d: received(d)["properties"]["size"].update(maximum=10), "maximum 10", BREAKING),
    ("smaller", lambda d: received(d)["properties"]["size"].update(maximum=8), "maximum 8", HARMLESS),
    ("null", lambda d: received(d)["properties"]["id"].update(type=["string", "null"]), "null or", BREAKING),
    ("a value", lambda d: received(d)["properties"]["kind"]["enum"].append("c"), "'c' was added", ADDITION),
    ("no value", lambda d: received(d)["properties"]["kind"]["enum"].pop(), "'b' was removed", BREAKING),
    ("default", lambda d: received(d)["properties"]["id"].update(default="x"), "default 'x'", HARMLESS),
    ("is old", lambda d: received(d)["properties"]["id"].update(deprecated=True), "deprecated", ADDITION),
    (
        "items",
        lambda d: received(d)["properties"]["children"]["items"].clear(),
        "items has the type",
        BREAKING,
    ),
    (
        "a branch",
        lambda d: received(d)["properties"]["either"]["anyOf"].append({"$ref": "#/components/schemas/Thing"}),
        f"{OK}, field either, anyOf Thing was added",
        BREAKING,
    ),
    (
        "the order of branches",
        lambda d: (
            received(d)["properties"]["either"]["anyOf"].reverse(),
            received(d)["properties"]["either"]["anyOf"].pop(),
        ),
        "anyOf string was removed",
        HARMLESS,
    ),
    ("a union", lambda d: received(d)["properties"]["id"].update(anyOf=[{}]), "anyOf was added", HARMLESS),
    ("header", lambda d: get(d)["responses"]["200"].pop("headers"), "header X-Count was removed", BREAKING),
    ("new status", lambda d: get(d)["responses"].update({"410": {}}), "status 410 was added", ADDITION),
    ("number", lambda d: get(d)["responses"].update({410: {}}), "status 410 was added", ADDITION),
    ("error", lambda d: get(d)["responses"].pop("404"), "status 404 was removed", HARMLESS),
    ("success", lambda d: get(d)["responses"].pop("200"), f"{OK} was removed", BREAKING),
    # Servers and security
    ("server", lambda d: d["servers"].pop(), "server production was removed", BREAKING),
    ("region", lambda d: d["servers"].append({"url": "https://b.example"}), "server https://b", ADDITION),
    ("URL", lambda d: d["servers"][0].update(url="https://c.example"), "has the URL https://c", BREAKING),
    ("variables", lambda d: d["servers"][0].update(variables={}), "production variables is {}", BREAKING),
    (
        "another server of a region",
        lambda d: d["servers"].append({"url": "https://d.example", "x-region": "production"}),
        "server https://d.example was added",
        ADDITION,
    ),
    ("of a path", lambda d: d["paths"]["/things"].update(servers=[]), "/things servers is []", BREAKING),
    ("way", lambda d: d["security"].pop(), "security oauth(read) was removed", BREAKING),
    ("new way", lambda d: d["security"].append({}), "security none was added", ADDITION),
    ("scope", lambda d: d["security"][1].update(oauth=["all"]), "oauth(read) was removed", BREAKING),
    ("own", lambda d: get(d).update(security=[{"basic": []}]), "GET /things, security oauth(read)", BREAKING),
    ("scheme", lambda d: d["components"]["securitySchemes"].pop("basic"), "scheme basic was", BREAKING),
    (
        "token URL",
        lambda d: oauth(d)["flows"]["clientCredentials"].update(tokenUrl="https://t.example"),
        "flows.clientCredentials.tokenUrl is 'https://t.example'",
        BREAKING,
    ),
    (
        "new scope",
        lambda d: oauth(d)["flows"]["clientCredentials"]["scopes"].update(all="All."),
        "flows.clientCredentials.scopes.all was added",
        ADDITION,
    ),
    ("a scope", lambda d: oauth(d)["x-service-scopes"]["api"].pop(), "scopes.api.read was removed", BREAKING),
    # Extensions and prose
    ("extension", lambda d: get(d).update({"x-idempotent": True}), "x-idempotent was added", ADDITION),
    ("key", lambda d: d.update(webhooks={}), "webhooks is {} instead of None", BREAKING),
    ("prose", lambda d: get(d).update(summary="x"), "only descriptions and examples changed", HARMLESS),
    ("title", lambda d: d["info"].update(title="x"), "only descriptions", HARMLESS),
    (
        "prose of a scope",
        lambda d: oauth(d)["flows"]["clientCredentials"]["scopes"].update(read="x"),
        "only descriptions",
        HARMLESS,
    ),
]


@pytest.mark.parametrize(("edit", "sentence", "impact"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
def test_a_change_is_named_and_judged(
    edit: Callable[[dict[str, Any]], object], sentence: str, impact: Impact
) -> None:
    changes = changes_of(edit)
    found = [change for change in changes if sentence in f"{change.where} {change.what}"]
    assert found, changes
    assert found[0].impact is impact
    assert max(change.impact for change in changes) is impact


def test_equal_documents_have_no_changes() -> None:
    assert changes_of(lambda _: None) == []


def test_a_field_may_be_called_like_a_keyword_for_prose() -> None:
    new = copy.deepcopy(DOCUMENT)
    received(new)["properties"]["description"] = {"type": "string"}
    changes = list(Comparison(DOCUMENT, new).changes())
    assert [str(change) for change in changes] == [
        "addition  GET /things, status 200, field description was added, optional"
    ]


def test_the_program_fails_if_a_change_breaks_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(yaml.safe_dump(DOCUMENT), encoding="utf-8")
    new.write_text(
        old.read_text(encoding="utf-8").replace("summary: List", "summary: Show"), encoding="utf-8"
    )
    monkeypatch.setattr("sys.argv", ["contract_comparison", str(old), str(new)])
    contract_comparison.main()
    assert capsys.readouterr().out == "harmless  contract only descriptions and examples changed\n"
    new.write_text(old.read_text(encoding="utf-8").replace("/things", "/stuff"), encoding="utf-8")
    with pytest.raises(SystemExit, match="break callers"):
        contract_comparison.main()


def test_the_committed_contract_is_read_without_a_change() -> None:
    path = Path(__file__).parents[2] / "openapi" / "thrive.yaml"
    text = path.read_text(encoding="utf-8")
    assert contract_comparison.compare_contracts(text, text) == []
