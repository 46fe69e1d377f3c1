"""A change of the public API is named, and a change of anything else is not."""

from pathlib import Path

import pytest
from releases.repository import Repository

from tools.api_comparison import Named, compare_apis, load_api
from tools.changes import Impact

INNER = "src/thrive_learning/inner.py"
INIT = "src/thrive_learning/__init__.py"
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
        name.startswith(("client.", "cli.", "errors.", "_")) for name in api if name != "__version__"
    )
