"""New operations in the contract: what fails until a person acts, and how much that takes.

Each runs on a copy of the repository. The numbers of lines are those that CONTRIBUTING.md states.
"""

from pathlib import Path

import pytest
from rehearsal import (
    ALL,
    OPERATIONS,
    PATH_ID,
    Copy,
    Edit,
    failed,
    in_query,
    ref,
    stated,
    succeeded,
    success,
    with_fields,
)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def described(constant: str, arguments: str, module: str, *models: str) -> list[Edit]:
    """Describe an operation, as `_call/generated.py` does it."""
    imported = ", ".join(sorted(["get_activity", "list_activities", module]))
    edits = [
        Edit("_call/generated.py", "import get_activity, list_activities\n", f"import {imported}\n"),
        Edit("_call/generated.py", "LIST_ACTIVITIES = ", f"{constant} = {arguments}\nLIST_ACTIVITIES = "),
    ]
    if models:
        names = ", ".join(sorted(["Activity", "ActivityPage", *models]))
        edits.append(
            Edit("_call/generated.py", "import Activity, ActivityPage\n", f"import {names}\n"),
        )
    return edits


def methods(constant: str, sync: str, model: str | None = None, *more: str) -> list[Edit]:
    """Add the twins of a method to `activities.py`, and what they import."""
    twin = sync.replace("    def ", "    async def ").replace("call(", "await acall(")
    constants = ", ".join(sorted(["GET_ACTIVITY", "LIST_ACTIVITIES", constant, *more]))
    models = ["Activity", "ActivityPage", "ActivityType", "ApiResponse", *([model] if model else [])]
    return [
        Edit("activities.py", "import GET_ACTIVITY, LIST_ACTIVITIES\n", f"import {constants}\n"),
        Edit("activities.py", "import TYPE_CHECKING\n", "import TYPE_CHECKING, Unpack\n"),
        *(
            [
                Edit(
                    "activities.py",
                    "import Activity, ActivityPage, ActivityType, ApiResponse\n",
                    f"import {', '.join(sorted(models))}\n",
                )
            ]
            if model
            else []
        ),
        Edit("activities.py", "\n\nclass AsyncActivities:\n", f"\n{sync}\n\nclass AsyncActivities:\n"),
        Edit(
            "activities.py",
            "        return AsyncActivityStream(walk, open_pages, self._http.observer)\n",
            f"        return AsyncActivityStream(walk, open_pages, self._http.observer)\n\n{twin}",
        ),
    ]


def model(name: str, *fields: str, base: str = "ContractModel", before: str = "ApiResponse") -> list[Edit]:
    """Add a model, and export it."""
    attributes = "".join(f"        {field.split(':')[0]}: Text.\n" for field in fields)
    body = "".join(f"    {field}\n" for field in fields)
    made = (
        f'@attrs.frozen(kw_only=True)\nclass {name}({base}):\n    """A model.\n\n    Attributes:\n'
        f'{attributes}    """\n\n{body}\n\n'
    )
    head = f"@attrs.frozen(kw_only=True, eq=False)\nclass {before}"
    return [
        Edit("models.py", head, made + head),
        Edit("__init__.py", "        Pagination,\n", f"        {name},\n        Pagination,\n"),
        Edit("__init__.py", '\n    "Pagination",\n', f'\n    "{name}",\n    "Pagination",\n'),
    ]


COMMENT = model("Comment", "id: str", "text: str | None = None")


#: The sandbox and the command are counted apart: the one is a second implementation of the API.
SANDBOX_AND_COMMAND = [
    Edit(
        "sandbox/core.py",
        "_TOKEN_PATH = ",
        '_SUMMARY_PATH = re.compile(r"/rest/v1/activity/([^/]+)/summary")\n_TOKEN_PATH = ',
    ),
    Edit(
        "sandbox/core.py",
        "        if match := _TOKEN_PATH.fullmatch(path):\n",
        "        if match := _SUMMARY_PATH.fullmatch(path):\n"
        "            return self._summary(request, unquote(match[1]), now)\n"
        "        if match := _TOKEN_PATH.fullmatch(path):\n",
    ),
    Edit(
        "sandbox/core.py",
        "    def _api_refusal(",
        """    def _summary(self, request: SandboxRequest, activity_id: str, now: float) -> SandboxResponse:
        summary = {"id": activity_id, "text": "All is well"}
        return self._api_refusal(request, now) or json_response(HTTPStatus.OK, summary)

    def _api_refusal(""",
    ),
    Edit(
        "cli/commands/activity.py",
        "@activity.command(epilog=_GET)\n",
        """@activity.command()
@click.argument("activity_id", metavar="ID")
@talks_to_the_api
def summary(target: Target, activity_id: str) -> None:
    \"\"\"Print the summary of an activity record.\"\"\"
    with target.client() as client, noticed(say):
        found = client.activities.get_summary(activity_id)
    write(as_json_text(found.to_json(), sys.stdout.encoding))


@activity.command(epilog=_GET)
""",
    ),
]


def test_a_get_with_path_and_query(copy: Copy) -> None:
    copy.schemas["Summary"] = with_fields("id", "text")
    parameters = [PATH_ID, in_query("lang", "string")]
    copy.add_operation(
        "/activity/{id}/summary", "get", "getSummary", success(ref("Summary")), parameters=parameters
    )
    succeeded(copy.generate())
    failed(
        copy.test(*OPERATIONS), "describe each operation of the contract in _call/generated.py", "get_summary"
    )

    summary = described(
        "GET_SUMMARY",
        'Operation.returning(Summary, "activities.get_summary", get_summary, subject="summary {id}")',
        "get_summary",
        "Summary",
    )
    copy.edit(summary)
    failed(copy.run("ThriveClient.sandbox()"), "cannot import name 'Summary'")
    copy.edit(model("Summary", "id: str", "text: str | None = None"))
    failed(
        copy.test(*OPERATIONS),
        *(
            f"activities.get_summary of {client} is missing: add the method to both twins"
            for client in ("ThriveClient", "AsyncThriveClient")
        ),
    )

    sync = '''
    def get_summary(
        self, activity_id: str, *, lang: str | None = None, **options: Unpack[CallOptions]
    ) -> Summary:
        """Get the summary of a record."""
        return call(GET_SUMMARY, self._http, options, id=validate_activity_id(activity_id), lang=lang)
'''.removeprefix("\n")
    copy.edit(methods("GET_SUMMARY", sync, "Summary"))
    assert sum(copy.handwritten_lines().values()) == stated("`GET` with path and query, and its model") <= 20
    succeeded(copy.test(*ALL))
    succeeded(
        copy.run(
            """
requests = []


def respond(request):
    requests.append(request)
    return httpx.Response(200, json={"id": ID, "text": "Très clair"})


for summary in both(lambda client: client.activities.get_summary(ID, lang="f r", timeout=5), respond):
    assert summary == Summary(id=ID, text="Très clair")
for request in requests:
    assert (request.method, request.url.raw_path) == (
        "GET", f"/rest/v1/activity/{ID}/summary?lang=f%20r".encode()
    )
requests.clear()
both(lambda client: client.activities.get_summary(ID), respond)
assert {request.url.query for request in requests} == {b""}
[*errors] = error_of(
    lambda client: client.activities.get_summary(ID), lambda request: httpx.Response(200, json={"text": "x"})
)
assert all("summary " + ID in str(error) and "'id' is missing" in str(error) for error in errors)
assert len(errors) == 2
"""
        )
    )

    handwritten = copy.handwritten_lines()
    copy.edit(SANDBOX_AND_COMMAND)
    lines = copy.handwritten_lines()
    assert {file: lines[file] for file in lines.keys() - handwritten.keys()} == {
        "sandbox/core.py": stated("the same in the sandbox"),
        "cli/commands/activity.py": stated("the same as a command"),
    }
    succeeded(
        copy.run(
            """
from thrive_learning.cli import program

with ThriveClient.sandbox() as client:
    assert client.activities.get_summary(ID).text == "All is well"


async def main():
    async with AsyncThriveClient.sandbox() as client:
        assert (await client.activities.get_summary(ID)).text == "All is well"


asyncio.run(main())
assert program.run(["activity", "summary", ID, "--sandbox"]) == 0
"""
        ),
        says='"text": "All is well"',
    )


def test_a_page_of_a_list(copy: Copy) -> None:
    copy.schemas["Comment"] = with_fields("id", "text")
    copy.schemas["CommentPage"] = {
        "type": "object",
        "description": "x",
        "required": ["results"],
        "properties": {
            "results": {"type": "array", "items": ref("Comment")},
            "pagination": ref("Pagination"),
        },
    }
    copy.add_operation(
        "/activity/{id}/comments",
        "get",
        "listComments",
        success(ref("CommentPage")),
        parameters=[PATH_ID, in_query("page", "integer"), in_query("perPage", "integer")],
    )
    succeeded(copy.generate())
    sync = '''
    def comments(
        self, activity_id: str, *, page: int = 1, per_page: int = 100, **options: Unpack[CallOptions]
    ) -> CommentPage:
        """Get one page of the comments on a record."""
        arguments = {"id": validate_activity_id(activity_id), "page": page, "per_page": per_page}
        return call(LIST_COMMENTS, self._http, options, **arguments)
'''.removeprefix("\n")
    operation = """Operation.returning(
    CommentPage, "activities.comments", list_comments, subject="the comments on activity {id}"
)"""
    page = ("results: tuple[Comment, ...]", "pagination: Pagination = attrs.field(factory=Pagination)")
    copy.edit(
        [
            *described("LIST_COMMENTS", operation, "list_comments", "CommentPage"),
            *COMMENT,
            *model("CommentPage", *page, base="ContractModel, _Page[Comment]"),
            *methods("LIST_COMMENTS", sync, "CommentPage"),
        ]
    )
    lines = sum(copy.handwritten_lines().values())
    assert lines == stated("`GET` of a page, with the models of the page and of its items") <= 30
    succeeded(copy.test(*ALL))
    succeeded(
        copy.run(
            """
def respond(request):
    number = int(request.url.params["page"])
    assert request.url.params["perPage"] == "2"
    results = [{"id": f"{number}-{item}", "text": 5 if item else "x"} for item in range(2)]
    return httpx.Response(200, json={"results": [*results, 7], "pagination": {"totalPages": 3.0}})


for page in both(lambda client: client.activities.comments(ID, page=3, per_page=2), respond):
    assert [comment.id for comment in page] == ["3-0", "3-1"]
    assert (page[0].text, page[1].text, page.pagination.total_pages) == ("x", None, 3)
    assert [problem.field for problem in page.problems] == ["results[2]"]
    assert page[1].to_dict() == {"id": "3-1", "text": 5}
"""
        )
    )


def test_a_list_that_is_a_json_array(copy: Copy) -> None:
    copy.schemas["Comment"] = with_fields("id", "text")
    items = {"type": "array", "items": ref("Comment")}
    copy.add_operation("/activity/{id}/pinned", "get", "listPinned", success(items), parameters=[PATH_ID])
    succeeded(copy.generate())
    sync = '''
    def pinned(self, activity_id: str, **options: Unpack[CallOptions]) -> tuple[Comment, ...]:
        """Get the pinned comments on a record."""
        return call(LIST_PINNED, self._http, options, id=validate_activity_id(activity_id))
'''.removeprefix("\n")
    operation = 'Operation.returning_many(Comment, "activities.pinned", list_pinned, subject="pins {id}")'
    copy.edit(
        [
            *described("LIST_PINNED", operation, "list_pinned", "Comment"),
            *COMMENT,
            *methods("LIST_PINNED", sync, "Comment"),
        ]
    )
    lines = sum(copy.handwritten_lines().values())
    assert lines == stated("`GET` of a JSON array, with the model of its items") <= 30
    succeeded(copy.test(*ALL))
    succeeded(
        copy.run(
            """
body = b'[{"id": "a", "text": "x"}, {"text": "y"}, {"id": "b"}]'
for pinned in both(
    lambda client: client.activities.pinned(ID), lambda request: httpx.Response(200, content=body)
):
    assert pinned == (Comment(id="a", text="x"), Comment(id="b"))
    assert pinned[0].to_json() == '{"id":"a","text":"x"}'
assert both(lambda client: client.activities.pinned(ID), lambda _: httpx.Response(200, json=[])) == ((), ())
"""
        )
    )


def test_a_post_with_a_body(copy: Copy) -> None:
    copy.schemas["Comment"] = with_fields("id", "text")
    copy.schemas["NewComment"] = {
        "type": "object",
        "description": "x",
        "required": ["text"],
        "properties": {"text": {"type": "string"}},
    }
    body = {"required": True, "content": {"application/json": {"schema": ref("NewComment")}}}
    copy.add_operation(
        "/activity/{id}/comments",
        "post",
        "addComment",
        success(ref("Comment"), "201"),
        parameters=[PATH_ID],
        requestBody=body,
    )
    succeeded(copy.generate())
    sync = '''
    def add_comment(self, activity_id: str, text: str, **options: Unpack[CallOptions]) -> Comment:
        """Comment on a record."""
        body = NewComment(text=text)
        return call(ADD_COMMENT, self._http, options, id=validate_activity_id(activity_id), body=body)
'''.removeprefix("\n")
    operation = """Operation.returning(
    Comment, "activities.add_comment", add_comment, subject="a new comment on activity {id}"
)"""
    imported = "from _thrive_learning_api.models import NewComment as NewComment  # noqa: PLC0414 - shared\n"
    copy.edit(
        [
            *described("ADD_COMMENT", operation, "add_comment", "Comment"),
            Edit(
                "_call/generated.py",
                "\n\nfrom thrive_learning._call",
                f"\n{imported}\nfrom thrive_learning._call",
            ),
            *COMMENT,
            *methods("ADD_COMMENT", sync, "Comment", "NewComment"),
        ]
    )
    lines = sum(copy.handwritten_lines().values())
    assert lines == stated("`POST` with a body, and the model of its response") <= 25
    succeeded(copy.test(*ALL))
    succeeded(
        copy.run(
            """
requests = []


def respond(request):
    requests.append(request)
    return httpx.Response(201, json={"id": "c", **json.loads(request.content)})


for comment in both(lambda client: client.activities.add_comment(ID, "Très clair"), respond):
    assert comment == Comment(id="c", text="Très clair")
for request in requests:
    assert (request.method, request.content) == ("POST", '{"text":"Très clair"}'.encode())
    assert request.headers.get_list("content-type") == ["application/json"]
    assert request.headers["content-length"] == str(len(request.content))
requests.clear()


def fail(request):
    requests.append(request)
    return httpx.Response(503)


errors = error_of(lambda client: client.activities.add_comment(ID, "x"), fail)
assert [(type(error), error.attempts) for error in errors] == [(ServerError, 1), (ServerError, 1)]
"""
        )
    )


def test_a_post_without_a_response(copy: Copy) -> None:
    done = {"204": {"description": "It is pinned."}}
    copy.add_operation("/activity/{id}/pin", "post", "pinActivity", done, parameters=[PATH_ID])
    copy.document["paths"]["/activity/{id}/pin"]["post"]["x-idempotent"] = True
    succeeded(copy.generate())
    sync = '''
    def pin(self, activity_id: str, **options: Unpack[CallOptions]) -> None:
        """Pin a record."""
        call(PIN_ACTIVITY, self._http, options, id=validate_activity_id(activity_id))
'''.removeprefix("\n")
    operation = 'Operation.returning_nothing("activities.pin", pin_activity, subject="activity {id}")'
    copy.edit([*described("PIN_ACTIVITY", operation, "pin_activity"), *methods("PIN_ACTIVITY", sync)])
    assert sum(copy.handwritten_lines().values()) == stated("`POST` without a body, and without a response")
    succeeded(copy.test(*ALL))
    succeeded(
        copy.run(
            """
answers = iter([503, 204, 503, 204])
once = RetryPolicy(first_delay=0)
assert both(
    lambda client: client.activities.pin(ID, retry=once), lambda request: httpx.Response(next(answers))
) == (None, None)
"""
        )
    )
