"""Reading of models that the contract does not have yet: nested ones, arrays, and every type and format."""

import datetime as dt
import enum
import json
import uuid
from typing import Any

import attrs
import pytest
from _thrive_learning_api.contract import FieldFacts

from thrive_learning import ConfigurationError, Drift
from thrive_learning._contract_model import DESCRIPTIONS, ContractModel, complete_reader_of, reader_of
from thrive_learning._reading import MAX_UNKNOWN_FIELDS, Reader, Reading


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Kind(enum.StrEnum):
    POST = "post"
    POLL = "poll"


@attrs.frozen(kw_only=True)
class SampleAuthor(ContractModel):
    id: str
    born: dt.date | None = None
    key: uuid.UUID | None = None


@attrs.frozen(kw_only=True)
class SampleReply(ContractModel):
    id: str
    text: str | None = None
    replies: tuple["SampleReply", ...] | None = None


@attrs.frozen(kw_only=True)
class SampleThread(ContractModel):
    kind: Kind | str | None
    owner: SampleAuthor
    note: str | None = None
    author: SampleAuthor | None = None
    replies: tuple[SampleReply, ...] = ()
    pinned: tuple[SampleReply, ...] | None = None
    days: tuple[dt.date, ...] | None = None
    tags: tuple[str, ...] | None = None
    grid: tuple[tuple[int, ...], ...] | None = None
    count: int | None = None
    ratio: float | None = None
    level: Level | int | None = None
    is_open: bool | None = None
    more: dict[str, Any] = attrs.field(factory=dict[str, Any])


def _field(name: str, *kinds: str, **facts: Any) -> FieldFacts:
    return FieldFacts(name, facts.pop("wire_name", name), kinds, **facts)


REPLY = FieldFacts("", "", ("object",), model="SampleReply")
DESCRIBED: dict[str, tuple[FieldFacts, ...]] = {
    "SampleAuthor": (
        _field("id", "string", is_required=True),
        _field("born", "string", "null", form="date"),
        _field("key", "string", form="uuid"),
    ),
    "SampleReply": (
        _field("id", "string", is_required=True),
        _field("text", "string"),
        _field("replies", "array", items=REPLY),
    ),
    "SampleThread": (
        _field("kind", "string", values={value.value: value for value in Kind}, is_required=True),
        _field("owner", "object", model="SampleAuthor", is_required=True),
        _field("note", "string", "null", is_required=True),
        _field("author", "object", "null", model="SampleAuthor"),
        _field("replies", "array", items=REPLY),
        _field("pinned", "array", items=REPLY),
        _field("days", "array", items=FieldFacts("", "", ("string",), form="date")),
        _field("tags", "array", "null", items=FieldFacts("", "", ("string",))),
        _field("grid", "array", items=FieldFacts("", "", ("array",), items=FieldFacts("", "", ("integer",)))),
        _field("count", "integer"),
        _field("ratio", "number"),
        _field("level", "integer", values={str(value): value for value in Level}),
        _field("is_open", "boolean", wire_name="isOpen"),
        _field("more", "object"),
    ),
}
OWNER = {"id": "o"}
LEAST: dict[str, Any] = {"kind": "post", "owner": OWNER, "note": None}


@pytest.fixture(autouse=True)
def _described(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, fields in DESCRIBED.items():
        monkeypatch.setitem(DESCRIPTIONS, name, fields)


def read(**changes: Any) -> SampleThread:
    return SampleThread.from_dict(LEAST | changes)


def problems(model: ContractModel) -> list[str]:
    return [str(problem) for problem in model.problems]


FULL: dict[str, Any] = {
    "kind": "poll",
    "owner": {"id": "o", "born": "1999-12-31", "key": "2f1c0b3e-8d5a-4c6b-9e7f-0a1b2c3d4e5f"},
    "note": "n",
    "author": {"id": "a", "born": None},
    "replies": [{"id": "r", "text": "x", "replies": [{"id": "s"}]}],
    "pinned": [{"id": "p"}],
    "days": ["2024-02-29"],
    "tags": ["a", "b"],
    "grid": [[1, 2], []],
    "count": 3,
    "ratio": 0.5,
    "level": 2,
    "isOpen": False,
    "more": {"k": [1]},
}


def test_every_type_and_format_is_read_and_written_again() -> None:
    thread = SampleThread.from_dict(FULL)
    assert thread == SampleThread(
        kind=Kind.POLL,
        owner=SampleAuthor(
            id="o", born=dt.date(1999, 12, 31), key=uuid.UUID("2f1c0b3e-8d5a-4c6b-9e7f-0a1b2c3d4e5f")
        ),
        note="n",
        author=SampleAuthor(id="a"),
        replies=(SampleReply(id="r", text="x", replies=(SampleReply(id="s"),)),),
        pinned=(SampleReply(id="p"),),
        days=(dt.date(2024, 2, 29),),
        tags=("a", "b"),
        grid=((1, 2), ()),
        count=3,
        ratio=0.5,
        level=Level.HIGH,
        is_open=False,
        more={"k": [1]},
    )
    assert thread.level is Level.HIGH
    assert thread.problems == ()
    assert thread.to_dict() == FULL
    made = attrs.evolve(thread, received=None)
    assert made.to_dict() == FULL | {"author": {"id": "a", "born": None}}
    assert attrs.evolve(thread.owner, received=None).to_dict() == FULL["owner"]
    assert attrs.evolve(thread, days=(dt.date(2025, 1, 1),)).to_dict() == FULL | {"days": ["2025-01-01"]}


def test_fields_that_are_missing_have_their_defaults() -> None:
    thread = read()
    assert (thread.author, thread.days, thread.more) == (None, None, {})
    assert thread.note is None
    assert problems(thread) == []


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("author", 5, "the field 'author' is a number, not an object or null"),
        ("author", {}, "the field 'author' is an object where the field 'id' is missing, not an object"),
        (
            "author",
            {"id": 1},
            "the field 'author' is an object where the field 'id' is a number, not a string, not an object",
        ),
        ("days", "2024-02-29", "the field 'days' is a string, not an array"),
        ("days", None, "the field 'days' is null, not an array"),
        ("days", ["2024-02-29", 5], "the field 'days[1]' is a number, not a string"),
        (
            "days",
            ["2023-02-29"],
            "the field 'days[0]' is text such as '0000-00-00', not a date as in RFC 3339",
        ),
        ("tags", ["a", None], "the field 'tags[1]' is null, not a string"),
        ("grid", [[1], [2, "x"]], "the field 'grid[1][1]' is a string, not an integer"),
        ("grid", [[1], 2], "the field 'grid[1]' is a number, not an array"),
        ("grid", [[1.5]], "the field 'grid[0]' is a number, not an integer"),
        ("count", 1.5, "the field 'count' is a number, not an integer"),
        ("count", "1", "the field 'count' is a string, not an integer"),
        ("count", True, "the field 'count' is a boolean, not an integer"),
        ("ratio", "1", "the field 'ratio' is a string, not a number"),
        ("level", "2", "the field 'level' is a string, not an integer"),
    ],
)
def test_a_value_that_departs_is_none_and_reported(field: str, value: Any, problem: str) -> None:
    thread = read(**{field: value})
    assert getattr(thread, field) is None
    assert problems(thread) == [problem.replace("grid[0]' is a", "grid[0][0]' is a")]
    assert all(one.breaks_contract for one in thread.problems)
    assert thread.to_dict() == LEAST | {field: value}
    replacement: Any = {field: ()}
    assert problems(attrs.evolve(thread, **replacement)) == []


@pytest.mark.parametrize("value", [1.0, -0.0, 1e3, 2.0**60])
def test_a_number_without_a_fraction_is_an_integer(value: float) -> None:
    """JSON Schema knows no difference between 1 and 1.0."""
    thread = read(count=value, grid=[[value]], ratio=value)
    assert (thread.count, thread.grid, thread.ratio) == (int(value), ((int(value),),), value)
    assert type(thread.count) is int
    assert thread.problems == ()
    assert json.dumps(thread.to_dict()["count"]) == json.dumps(value)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *(("born", text) for text in ("", "2024-2-9", "2024-02-30", "20240229", "2024-02-29T00:00:00Z")),
        *(("key", text) for text in ("", "x", "2f1c0b3e8d5a4c6b9e7f0a1b2c3d4e5f", "{2f1c0b3e}")),
    ],
)
def test_text_of_another_form_is_none_and_reported(field: str, text: str) -> None:
    author = SampleAuthor.from_dict({"id": "a", field: text})
    assert getattr(author, field) is None
    [problem] = author.problems
    assert (problem.kind, problem.field) == ("unreadable_date", field)
    assert problem.expected in {"a date as in RFC 3339", "a UUID"}


@pytest.mark.parametrize(("field", "value"), [("level", 9), ("kind", "quiz")])
def test_an_unknown_value_stays_as_received(field: str, value: Any) -> None:
    thread = read(**{field: value})
    assert getattr(thread, field) == value
    assert type(getattr(thread, field)) is type(value)
    [problem] = thread.problems
    assert (problem.kind, problem.found, problem.breaks_contract) == ("unknown_value", str(value), False)


@pytest.mark.parametrize(
    ("changes", "flaw"),
    [
        ({"note": 5}, "the field 'note' is a number, not a string or null"),
        ({"owner": None}, "the field 'owner' is null, not an object"),
        ({"owner": {}}, "the field 'owner' cannot be read"),
        ({"owner": {"id": 1}}, "the field 'owner' cannot be read"),
        ({"kind": 1}, "the field 'kind' is a number, not a string"),
    ],
)
def test_a_required_field_that_departs_is_a_flaw(changes: dict[str, Any], flaw: str) -> None:
    with pytest.raises(ConfigurationError, match=f"The mapping is not a record: {flaw}\\."):
        read(**changes)


def test_a_required_field_may_be_null_where_the_contract_says_so_but_not_missing() -> None:
    assert read(note=None).note is None
    with pytest.raises(ConfigurationError, match="the field 'note' is missing"):
        SampleThread.from_dict({"kind": "post", "owner": OWNER})


def test_items_that_are_not_records_are_left_out_and_reported() -> None:
    thread = read(replies=[{"id": "a"}, {}, 5, {"id": "b", "text": 1}])
    assert [reply.id for reply in thread.replies] == ["a", "b"]
    assert problems(thread) == [
        "the item replies[1] cannot be read: the field 'id' is missing",
        "the item replies[2] cannot be read: it is a number, not an object",
    ]
    assert problems(thread.replies[1]) == ["the field 'text' is a number, not a string"]


def reader() -> Reader:
    return reader_of("SampleThread")


def read_array(schema: str, texts: list[str]) -> Reading:
    """Read an array of a model, as an operation does while it parses."""
    current = reader_of(schema).begin(is_array=True)
    return current.read_items([current.item(json.loads(text), text) for text in texts])


def test_the_texts_of_items_are_those_of_one_array() -> None:
    """Not of the array beside it, nor of those within its items."""
    assert reader().items_of == "replies"
    inner = {"id": "s", "text": "inner"}
    texts = ['{"id":"r","replies":[{"id":"s","text":"inner"}]} ', '{"id": "t"}']
    current = reader().begin()
    made = [current.item(json.loads(text), text) for text in texts]
    document = LEAST | {"pinned": [{"id": "p"}], "replies": made}
    thread = SampleThread._from_reading(current.read(document, "{}", is_made=True))
    [first, second] = thread.replies
    assert (second.to_json(), first.to_dict()) == ('{"id":"t"}', {"id": "r", "replies": [inner]})
    assert first.replies is not None
    assert first.replies[0].to_dict() == inner
    assert thread.pinned is not None
    assert thread.pinned[0].to_dict() == {"id": "p"}


def test_an_array_is_read_item_by_item() -> None:
    texts = ['{"id": "a"}', "5", '{"id": "b", "text": null}', '{"id": "c", "more": 1}', "{}"]
    reading = read_array("SampleReply", texts)
    assert [item.id for item in reading.items] == ["a", "b", "c"]
    assert [str(problem) for problem in reading.problems] == [
        "the field 'text' is null, not a string",
        "the contract has no field 'more' (a number)",
        "the item [1] cannot be read: it is a number, not an object",
        "the item [4] cannot be read: the field 'id' is missing",
    ]
    assert (reading.document, reading.flaw) == ([], None)


def test_the_items_of_an_array_are_of_its_model_and_not_of_what_that_holds() -> None:
    [thread] = read_array("SampleThread", [json.dumps(FULL)]).items
    assert thread == SampleThread.from_dict(FULL)


def shown(reading: Reading) -> list[Drift]:
    return [drift._replace(operation="x") for drift in reading.problems]


def test_equal_problems_of_different_items_are_shown_alike() -> None:
    documents = [{"id": "a", "text": 1}, {"id": "b", "text": 1}, {"id": "c", "text": 1, "n": 1}]
    reading = read_array("SampleReply", list(map(json.dumps, documents)))
    assert len(reading.problems) == 2
    reading.show_as(shown(reading))
    assert {problem.operation for item in reading.items for problem in item.problems} == {"x"}
    assert [len(item.problems) for item in reading.items] == [1, 1, 2]
    # Unknown values are objects of their own each time, which are equal.
    threads = [LEAST | {"kind": "quiz"}, LEAST | {"kind": "quiz", "count": 1}]
    reading = read_array("SampleThread", list(map(json.dumps, threads)))
    reading.show_as(shown(reading))
    assert [problem.operation for item in reading.items for problem in item.problems] == ["x", "x"]


def test_unknown_fields_beyond_the_limit_are_counted() -> None:
    many = {f"f{number}": None for number in range(MAX_UNKNOWN_FIELDS + 3)}
    assert problems(read(**many))[-1] == "the contract has no field '…' (3 more unknown fields)"
    for number in range(600):  # more than the reader remembers
        assert problems(read(**{f"g{number}": 1})) == [f"the contract has no field 'g{number}' (a number)"]


# Input of the generated parser


def strict_reader(schema: str) -> Reader:
    """Return a reader that requires all fields."""
    fields = [field._replace(is_required=True) for field in DESCRIBED[schema]]
    return Reader(fields, reader_of(schema).model, reader_of)


def test_the_parser_is_given_no_more_than_the_required_fields() -> None:
    document = FULL | {"other": 1}
    reading = reader().begin().read(document, json.dumps(document))
    assert reading.document == {"kind": "poll", "owner": {"id": "o"}, "note": "n"}
    assert document == FULL | {"other": 1}


def test_the_parser_is_given_what_it_can_read() -> None:
    document = FULL | {"kind": "quiz", "level": 9}
    reading = strict_reader("SampleThread").begin().read(document, json.dumps(document))
    assert (reading.document["kind"], reading.document["level"]) == ("post", 1)  # documented values
    assert {key for key, value in reading.document.items() if value == []} == {
        key for key, value in FULL.items() if isinstance(value, list)
    }
    assert reading.document["author"] == {"id": "a"}
    assert reading.document["more"] == FULL["more"]
    author = strict_reader("SampleAuthor").begin().read(FULL["owner"], json.dumps(FULL["owner"]))
    assert author.document == FULL["owner"]


# Models and the contract


def test_a_field_that_the_model_lacks_is_named() -> None:
    fields = [*DESCRIBED["SampleReply"], _field("likes", "integer")]
    with pytest.raises(
        TypeError,
        match=r"^The contract has SampleReply\.likes, and the class has no such attribute\. Add it to "
        r".*SampleReply, with its line in the docstring\.$",
    ):
        Reader(fields, SampleReply, reader_of)


def test_an_attribute_that_the_contract_lacks_is_named() -> None:
    with pytest.raises(TypeError, match=r"^SampleReply\.text is not in the contract\. Remove it, or add"):
        Reader([one for one in DESCRIBED["SampleReply"] if one.name != "text"], SampleReply, reader_of)


def test_a_model_that_does_not_exist_is_named() -> None:
    with pytest.raises(TypeError, match=r"the model SampleLike\. Add a class of that name to models\.py\.$"):
        reader_of("SampleLike")


def test_the_models_within_a_model_are_complete_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert sorted({*reader().parts}) == ["SampleAuthor", "SampleReply"]
    assert complete_reader_of("SampleThread") is reader()  # one of them is part of itself
    more = (*DESCRIBED["SampleReply"], _field("likes", "integer"))
    monkeypatch.setitem(DESCRIPTIONS, "SampleReply", more)
    reader_of.cache_clear()
    with pytest.raises(TypeError, match=r"The contract has SampleReply\.likes"):
        complete_reader_of("SampleThread")
    reader_of.cache_clear()


def test_a_derived_class_is_read_as_its_model() -> None:
    @attrs.frozen(kw_only=True)
    class Mine(SampleAuthor):
        pass

    mine = Mine.from_dict({"id": "a", "born": "2024-02-29"})
    assert type(mine) is Mine
    assert mine.born == dt.date(2024, 2, 29)


def test_the_json_schema_is_that_of_the_contract() -> None:
    author = {
        "type": "object",
        "properties": {
            "id": {"type": "string", "pattern": r"\S"},
            "born": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            "key": {"type": "string", "format": "uuid"},
        },
        "required": ["id"],
        "additionalProperties": True,
    }
    assert SampleAuthor.__get_pydantic_json_schema__(None, None) == {"title": "SampleAuthor", **author}
    properties = SampleThread.__get_pydantic_json_schema__(None, None)["properties"]
    assert properties["author"] == {"anyOf": [author, {"type": "null"}]}
    assert properties["grid"]["items"] == {"type": "array", "items": {"type": "integer"}}
    reply = properties["replies"]["items"]
    assert reply["properties"]["replies"] == {"type": "array", "items": {"type": "object"}}
