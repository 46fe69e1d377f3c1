"""A change of the public API is named, and a change of anything else is not."""

from pathlib import Path

import pytest
from releases.repository import Repository

from tools.api_comparison import Named, compare_apis, load_api
from tools.changes import Impact

INNER = "src/thrive_learning/inner.py"
INIT = "src/thrive_learning/__init__.py"
MORE = "src/thrive_learning/kinds.py"
WEBHOOKS = "src/thrive_learning/webhooks.py"
ADDITION, BREAKING = Impact.ADDITION, Impact.BREAKING


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("repository"))
    repository.commit("v0.1.0")
    return repository


@pytest.fixture(scope="module")
def tagged(repository: Repository) -> dict[str, Named]:
    return load_api(repository.folder, "v0.1.0")


def changes_after(
    repository: Repository, tagged: dict[str, Named], name: str, old: str, new: str
) -> list[tuple[str, Impact]]:
    repository.replace(name, old, new)
    try:
        changes = compare_apis(tagged, load_api(repository.folder))
        return [(f"{change.where} {change.what}", change.impact) for change in changes]
    finally:
        repository.git("checkout", "--quiet", ".")


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence", "impact"),
    [
        (INIT, '__all__ = ["Client", ', "__all__ = [", "Client was removed", BREAKING),
        (INIT, '"Options"]', '"Options", "more"]\nmore = 1', "more was added", ADDITION),
        (WEBHOOKS, "body: bytes", "", "webhooks.verify does not take body", BREAKING),
        (WEBHOOKS, '["verify"]', "[]", "webhooks.verify was removed", BREAKING),
        ("generated/_thrive_learning_api/kinds.py", "    B = 'b'\n", "", "Kind.B was removed", BREAKING),
        (INNER, "def get(", "def fetch(", "Client.get was removed", BREAKING),
        (INNER, "def get(", "def fetch(", "Client.fetch was added", ADDITION),
        (INNER, "def shared(", "def _shared(", "Client.shared was removed", BREAKING),
        (INNER, "count: int = 1", "count: int = 2", "default of count: 2 instead of 1", BREAKING),
        (INNER, "limit: int = 1)", "limit: int)", "Client.get requires limit", BREAKING),
        (INNER, "limit: int = 1)", "*, limit: int = 1)", "takes limit in another way", BREAKING),
        (INNER, "key: str | int, limit: int = 1", "limit: int = 1, key: int = 1", "takes key at", BREAKING),
        (INNER, "limit: int = 1)", "limit: int = 1, *, fast: bool)", "required parameter fast", BREAKING),
        (INNER, "limit: int = 1)", "limit: int = 1, fast: bool = False)", "new parameter fast", ADDITION),
        (INNER, "key: str | int", "key: str", "accepts str instead of int | str", BREAKING),
        (INNER, "limit: int = 1) -> str", "limit: int = 1) -> str | None", "is str | None", BREAKING),
        (INNER, "limit: int = 1) -> str", "limit: int = 1)", "has no type of its", BREAKING),
        (INNER, "def state(self) -> str", "def state(self) -> bytes", "Client.state is bytes", BREAKING),
        (INNER, "region: str, *", "region: str, tenant: str, *", "required parameter tenant", BREAKING),
        (INNER, "NotFound(Failure, KeyError)", "NotFound(Failure)", "NotFound is not a KeyError", BREAKING),
        (INNER, "Failure(Exception)", "Failure", "NotFound is not a Exception any more", BREAKING),
        (INNER, "class Limits:", "class Limits:\n    first: int", "required parameter first", BREAKING),
        (INNER, "attrs.field(factory=int)", "attrs.field(converter=int)", "Limits requires reads", BREAKING),
        (INNER, '    _secret: str = "x"\n', "", "Limits does not take secret any more", BREAKING),
        (INNER, "attrs.frozen", "attrs.frozen(kw_only=True)", "Limits takes total in", BREAKING),
        (INNER, "    timeout: float\n", "    other: float\n", "Options.timeout was removed", BREAKING),
        (INNER, "class Options(TypedDict, total=False):", "def Options():", "is another kind", BREAKING),
        (INNER, "    name: str | None\n", "    name = None\n", "Client.name has no type any more", BREAKING),
        (
            INNER,
            "    def __init__(self, region: str, *, strict: bool = False) -> None: ...\n",
            "",
            "Client.__init__ was removed",
            BREAKING,
        ),
        ("generated/_thrive_learning_api/kinds.py", "B = 'b'", "C = 'b'", "kinds.Alias.B was", BREAKING),
        ("generated/_thrive_learning_api/kinds.py", "B = 'b'", "B = 'c'", "Kind.B is 'c' inst", BREAKING),
        (MORE, '"red"', '"rot"', "Color.RED is 'rot' instead of 'red'", BREAKING),
        (MORE, "enum.Enum", "enum.Flag", "Color is not a Enum any more", BREAKING),
        (MORE, '["a", "b"]', '["a"]', "Mode is Literal['a'] instead of", BREAKING),
        (MORE, '["a", "b"]', '["a", "b", "c"]', "Mode is Literal['a'] | Literal['b'] | L", ADDITION),
        (MORE, "LIMIT = 5", "LIMIT = 6", "LIMIT is 6 instead of 5", BREAKING),
        (MORE, "| None: ...", "| None: ...\n    def save(self): ...", "Store.save was added", BREAKING),
        (MORE, "load(self, key: str", "load(self, key: str | int", "accepts int | str instead", BREAKING),
        (MORE, "load(self, key: str", "load(self, key: str, more: int = 1", "the new parameter", BREAKING),
        (MORE, "key: str) -> str | None", "key: str) -> str", "load is str instead of str | N", BREAKING),
        (MORE, "    error: str", "    x: int = 1\n    error: str", "Try takes error at another", BREAKING),
        (MORE, "    status: int | None = None\n", "    status: int\n", "Try requires status", BREAKING),
        (MORE, "(Sequence[str])", "", "Page is not a Sequence any more", BREAKING),
        (MORE, '    def __enter__(self) -> "Page": ...', "    pass", "__enter__ was removed", BREAKING),
        (MORE, "LIMIT: int = 3", "LIMIT: int = 4", "Many.LIMIT is 4 instead of 3", BREAKING),
        (MORE, "async def", "def", "Many.fetch is not async any more", BREAKING),
        (MORE, "    @classmethod\n", "", "Many.parse is not classmethod any more", BREAKING),
        (MORE, "def still(name", "@classmethod\n    def still(name", "is classmethod now", BREAKING),
        (
            MORE,
            "    @size.setter\n    def size(self, value: int) -> None: ...\n",
            "",
            "Many.size cannot be set any more",
            BREAKING,
        ),
        (MORE, "    @contextmanager\n", "", "stopped being, a contextmanager", BREAKING),
        (MORE, "    @overload\n    def over(self, one: str) -> str: ...\n", "", "signature (self", BREAKING),
        (MORE, "one: str) -> str: ...", "one: bytes) -> str: ...", "the new signature", ADDITION),
        (MORE, "attrs.field(default=2", "attrs.field(kw_only=True, default=2", "in another way", BREAKING),
        (MORE, 'alias="three"', 'alias="drei"', "Fields does not take three any more", BREAKING),
        (MORE, "attrs.frozen", "attrs.define", "has attrs.define instead of attrs.frozen", BREAKING),
        (MORE, "attrs.frozen", "attrs.frozen(eq=False)", "has attrs.frozen(eq=False)", BREAKING),
        (MORE, ", total=False", "", "Given requires timeout", BREAKING),
        (MORE, "    timeout: float", "    timeout: Required[float]", "Given requires timeout", BREAKING),
        (MORE, "class Many", "@final\nclass Many", "has final instead of no decorator", BREAKING),
        (WEBHOOKS, "def verify", "@deprecated('x')\ndef verify", "verify is deprecated", ADDITION),
        (
            "src/thrive_learning/testing.py",
            "-> str: ...",
            "-> str: ...\n    def put(self, key: str) -> str: ...",
            "testing.ClientProtocol.put was added",
            ADDITION,
        ),
    ],
)  # fmt: skip
def test_a_change_is_named_and_judged(
    repository: Repository,
    tagged: dict[str, Named],
    name: str,
    old: str,
    new: str,
    sentence: str,
    impact: Impact,
) -> None:
    changes = changes_after(repository, tagged, name, old, new)
    assert impact in [own for text, own in changes if sentence in text], changes


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def internal(value)", "def internal(value, more)"),
        ("def _hidden(self)", "def _hidden(self, more)"),
        ("key: str | int", "key: int | str | bytes"),
        ("key: str | int", "key: object"),
        ("name: str | None", "name: str"),
        ("attrs.field(default=1.0)", "1.0"),
        ("made: int", "_made: int"),
        ("class _Base:", "class _Other: ...\n\nclass _Base(_Other):"),
        ("@attrs.frozen", "@attrs.frozen(repr=False)"),
        ("shared: ClassVar[int] = 1", "shared: ClassVar[int] = 1\n    other: ClassVar[int] = 1"),
    ],
)
def test_a_change_that_breaks_nobody_is_not_reported(
    repository: Repository, tagged: dict[str, Named], old: str, new: str
) -> None:
    changes = [
        text for text, impact in changes_after(repository, tagged, INNER, old, new) if impact is BREAKING
    ]
    assert changes == (["Limits.made was removed"] if old == "made: int" else [])


def test_only_exported_names_count() -> None:
    api = load_api(Path(__file__).parents[2])
    assert {
        "ThriveClient",
        "ActivityType",
        "webhooks.verify",
        "sandbox.Sandbox",
        "testing.make_activity",
    } <= api.keys()
    assert not any(
        name.startswith(("client.", "cli.", "errors.", "models.", "_"))
        for name in api
        if name != "__version__"
    )


def test_a_generated_enum_is_compared_although_it_is_assigned_to_a_name() -> None:
    api = load_api(Path(__file__).parents[2])
    assert "COMPLETED" in api["ActivityType"].members
