"""The contract is valid OpenAPI 3.1, says what the vendor's page says, and its examples fit its schemas."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator import validate as validate_openapi
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT202012

DOCUMENT: dict[str, Any] = yaml.safe_load(
    Path(__file__).parents[2].joinpath("openapi", "thrive.yaml").read_text(encoding="utf-8")
)
GET_ACTIVITY = ("paths", "/activity/{id}", "get")
LIST_ACTIVITIES = ("paths", "/activities", "get")
OPERATIONS = [
    ("paths", path, method)
    for path, methods in DOCUMENT["paths"].items()
    for method, value in methods.items()
    if "responses" in value
]
OK_CONTENT = (*GET_ACTIVITY, "responses", "200", "content", "application/json")
ONE_PAGE = (*LIST_ACTIVITIES, "responses", "200", "content", "application/json", "examples", "onePage")
PROPERTIES = ("components", "schemas", "Activity", "properties")

# Written out from the vendor's reference page, so that the contract cannot drift away from it.
PAGE_EXAMPLE = {
    "id": "60d5ec49b60b4b3a2c8f9a10",
    "user": "60d5ec49b60b4b3a2c8f9a11",
    "type": "viewed",
    "date": "2020-02-12T14:58:23.621Z",
    "contextId": "64b6f4a8c2e4a1b9d3f2c4a0",
    "contextType": "content",
    "data": {"source": {"source": "feed"}, "duration": "3600"},
    "with": None,
}
PAGE_TYPES = [
    "viewed",
    "completed",
    "passed",
    "pinned",
    "unpinned",
    "liked",
    "unliked",
    "commented",
    "commentdeleted",
    "shared",
    "progressed",
    "registered",
    "followed",
    "unfollowed",
    "started",
    "resumed",
    "searched",
    "found",
    "loggedin",
    "loggedout",
]
PAGE_HOSTS = {
    "production": "api.learn.link",
    "staging": "api.learnstaging.link",
    "production-mea": "api.mea.learn.tech",
    "staging-mea": "api.meastaging.learn.tech",
}

Place = tuple[str | int, ...]


def at(document: Any, place: Place) -> Any:
    for key in place:
        document = document[key]
    return document


def changed(place: Place, value: object) -> dict[str, Any]:
    """The contract with one thing in it replaced."""
    document = copy.deepcopy(DOCUMENT)
    at(document, place[:-1])[place[-1]] = value
    return document


def own_examples(node: dict[str, Any], place: Place) -> Iterator[Place]:
    """Where the examples stand that a media type, a parameter or a schema gives itself."""
    if "example" in node:
        yield (*place, "example")
    match node.get("examples"):
        case dict(named):
            yield from ((*place, "examples", name, "value") for name in named)
        case list(listed):
            yield from ((*place, "examples", index) for index in range(len(listed)))


def examples(node: Any, place: Place = ()) -> Iterator[tuple[Place, Place]]:
    """Where every example below a node stands, and where its schema does."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from examples(item, (*place, index))
    elif isinstance(node, dict):
        # A media type or a parameter has its schema beside its examples; a schema is its own.
        schema = (*place, "schema") if "schema" in node else place
        yield from ((example, schema) for example in own_examples(node, place))
        for key, child in node.items():
            if key == "properties":  # the names in here are the API's, even one that is called "example"
                for name, value in child.items():
                    yield from examples(value, (*place, key, name))
            elif key not in {"example", "examples", "default", "enum", "const"}:  # those hold data
                yield from examples(child, (*place, key))


def misfits(document: dict[str, Any]) -> list[Place]:
    """The examples that their own schemas refuse."""
    registry: Registry[Any] = Registry().with_resource("urn:contract", DRAFT202012.create_resource(document))

    def fits(example: Place, schema: Place) -> bool:
        pointer = "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in schema)
        validator = Draft202012Validator(
            {"$ref": f"urn:contract#{pointer}"},
            registry=registry,
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        )
        return validator.is_valid(at(document, example))

    return [example for example, schema in examples(document) if not fits(example, schema)]


def test_it_is_a_valid_openapi_3_1_document() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    validate_openapi(DOCUMENT, cls=OpenAPIV31SpecValidator)


def test_the_validator_finds_what_is_wrong() -> None:
    with pytest.raises(OpenAPIValidationError):
        validate_openapi(changed((*PROPERTIES, "id", "type"), "text"), cls=OpenAPIV31SpecValidator)


def test_every_example_fits_its_schema() -> None:
    assert misfits(DOCUMENT) == []


def test_the_examples_are_found_wherever_they_stand() -> None:
    parameters = {
        (*operation, "parameters", index, "example")
        for operation in OPERATIONS
        for index, parameter in enumerate(at(DOCUMENT, operation).get("parameters", ()))
        if "example" in parameter
    }
    successes = {
        (*operation, "responses", status, "content", media_type, "examples", name, "value")
        for operation in OPERATIONS
        for status, response in at(DOCUMENT, operation)["responses"].items()
        for media_type, content in response.get("content", {}).items()
        for name in content["examples"]
    }
    errors = {
        ("components", "responses", name, "content", "application/json", "example")
        for name in DOCUMENT["components"]["responses"]
    }
    fields = {
        ("components", "schemas", schema, "properties", name, "examples", index)
        for schema, value in DOCUMENT["components"]["schemas"].items()
        for name, field in value.get("properties", {}).items()
        for index in range(len(field.get("examples", ())))
    }

    assert {example for example, _ in examples(DOCUMENT)} == parameters | successes | errors | fields
    assert {
        (*GET_ACTIVITY, "parameters", 0, "example"),
        (*LIST_ACTIVITIES, "parameters", 2, "example"),
    } <= parameters
    assert (*OK_CONTENT, "examples", "referencePage", "value") in successes
    assert (*PROPERTIES, "name", "examples", 0) in fields
    # Each operation shows what it returns.
    assert {example[:3] for example in successes} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("example", "within", "wrong"),
    [
        ((*OK_CONTENT, "examples", "referencePage", "value"), ("id",), "file"),
        ((*OK_CONTENT, "examples", "referencePage", "value"), ("date",), "12 February 2020"),
        ((*OK_CONTENT, "examples", "referencePage", "value"), ("type",), "x" * 251),
        ((*OK_CONTENT, "examples", "referencePage", "value"), ("with",), "null"),
        ((*GET_ACTIVITY, "parameters", 0, "example"), (), "507f1f77"),
        ((*LIST_ACTIVITIES, "parameters", 6, "example"), (), "2020-01-01T00:00:00Z"),
        ((*ONE_PAGE, "value"), ("pagination", "totalPages"), "1"),
        ((*ONE_PAGE, "value"), ("results", 0, "date"), "12 February 2020"),
        ((*ONE_PAGE, "value"), ("results",), {}),
        ((*PROPERTIES, "name", "examples", 0), (), "x" * 251),
        (
            ("components", "responses", "NotFound", "content", "application/json", "example"),
            ("status",),
            "404",
        ),
    ],
)
def test_a_wrong_example_is_found(example: Place, within: Place, wrong: str) -> None:
    assert misfits(changed((*example, *within), wrong)) == [example]


def test_it_holds_the_example_of_the_reference_page() -> None:
    assert at(DOCUMENT, (*OK_CONTENT, "examples", "referencePage", "value")) == PAGE_EXAMPLE


def test_it_holds_the_nine_fields_and_requires_the_id_alone() -> None:
    activity = DOCUMENT["components"]["schemas"]["Activity"]
    assert set(activity["properties"]) == {*PAGE_EXAMPLE, "name"}
    assert len(activity["properties"]) == 9
    assert activity["required"] == ["id"]


def test_it_holds_the_twenty_types_and_accepts_any_other_text() -> None:
    assert DOCUMENT["components"]["schemas"]["ActivityType"]["enum"] == PAGE_TYPES
    assert len(set(PAGE_TYPES)) == 20
    record = (*OK_CONTENT, "examples", "referencePage", "value", "type")
    assert misfits(changed(record, "file")) == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation[1])
def test_an_operation_documents_its_errors_with_one_body(operation: Place) -> None:
    responses = at(DOCUMENT, (*operation, "responses"))
    errors = [status for status in responses if int(status) >= 400]

    assert {"400", "401", "403", "404", "422", "429", "500"} <= set(errors)
    assert list(responses) == sorted(responses)
    assert set(responses) - set(errors) == {"200"}
    for status in errors:
        body = at(DOCUMENT, tuple(responses[status]["$ref"].split("/")[1:]))["content"]["application/json"]
        assert body["schema"] == {"$ref": "#/components/schemas/Error"}
        assert body["example"]["status"] == int(status)


def test_it_holds_the_four_servers_and_the_eight_token_urls() -> None:
    assert {server["x-region"]: server["url"] for server in DOCUMENT["servers"]} == {
        region: f"https://public.{host}/rest/v1" for region, host in PAGE_HOSTS.items()
    }
    oauth2 = DOCUMENT["components"]["securitySchemes"]["oauth2"]
    assert oauth2["x-token-urls"] == {
        region: {
            "api": f"https://public.{host}/oauth2/token/:tenantId",
            "webhooks": f"https://user.{host}/oauth2/token/:tenantId",
        }
        for region, host in PAGE_HOSTS.items()
    }
    flow = oauth2["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == oauth2["x-token-urls"]["production"]["api"]
    assert set(flow["scopes"]) == {"api/all", "api/read", "api/write", "api/webhooks"}


HEX_24 = "^[0-9a-fA-F]{24}$"


def test_the_patterns_lengths_and_formats_are_those_of_the_page() -> None:
    properties = DOCUMENT["components"]["schemas"]["Activity"]["properties"]
    assert {
        name: field["pattern"] for name, field in properties.items() if "pattern" in field
    } == dict.fromkeys(("id", "user", "contextId"), HEX_24)
    assert properties["name"]["maxLength"] == properties["type"]["anyOf"][1]["maxLength"] == 250
    assert properties["date"]["format"] == "date-time"


def test_the_list_is_that_of_the_page() -> None:
    parameters = {
        parameter["name"]: parameter for parameter in at(DOCUMENT, (*LIST_ACTIVITIES, "parameters"))
    }
    assert list(parameters) == [
        "page",
        "perPage",
        "actions",
        "omitActions",
        "contentIds",
        "contentType",
        "timestampFrom",
        "timestampTo",
    ]
    assert all(parameter["in"] == "query" for parameter in parameters.values())
    assert not any(parameter.get("required") for parameter in parameters.values())
    assert parameters["page"]["schema"] == {"type": "integer", "minimum": 1, "default": 1}
    per_page = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20}
    assert parameters["perPage"]["schema"] == per_page
    for name in ("timestampFrom", "timestampTo"):
        assert re.fullmatch(parameters[name]["schema"]["pattern"], "2020-01-01 00:00:00")
        assert not re.fullmatch(parameters[name]["schema"]["pattern"], "2020-01-01T00:00:00Z")


def test_a_page_needs_its_results_alone() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["ActivityPage"]["required"] == ["results"]
    assert "required" not in schemas["Pagination"]
    assert set(schemas["Pagination"]["properties"]) == {"totalResults", "totalPages", "page", "perPage"}
    assert schemas["ActivityPage"]["properties"]["results"]["items"] == {
        "$ref": "#/components/schemas/Activity"
    }


def test_the_record_is_that_of_the_page() -> None:
    operation = DOCUMENT["paths"]["/activity/{id}"]["get"]
    [parameter] = operation["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("id", "path", True)
    assert (parameter["schema"]["pattern"], parameter["example"]) == (HEX_24, "507f1f77bcf86cd799439012")
    assert DOCUMENT["security"] == [{"basicAuth": []}, {"oauth2": ["api/read"]}, {"oauth2": ["api/all"]}]
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert (schemes["basicAuth"]["type"], schemes["basicAuth"]["scheme"]) == ("http", "basic")
    assert list(schemes["oauth2"]["flows"]) == ["clientCredentials"]
