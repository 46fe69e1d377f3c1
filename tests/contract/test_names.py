"""Names: no class shares its name with another, and a public module holds public names only."""

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from _thrive_learning_api import contract

import thrive_learning
from thrive_learning import dask, models, webhooks
from thrive_learning._contract_model import ContractModel

SOURCE = Path(__file__).parents[2] / "src" / "thrive_learning"


def parsed(*paths: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in paths:
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, tree in parsed(*sorted(SOURCE.rglob("*.py"))):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def defined(tree: ast.Module) -> Iterator[str]:
    """Return the names that a module defines itself."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case _:
                pass


def test_names_in_public_modules_are_exported_or_private() -> None:
    own = {"webhooks.py": webhooks, "dask.py": dask}  # their names would mean little alone
    strange = {
        module: names
        for module, tree in parsed(*SOURCE.glob("[a-z]*.py"))
        if (
            names := {name for name in defined(tree) if not name.startswith("_")}
            - set(thrive_learning.__all__)
            - set(own[module].__all__ if module in own else ())
        )
    }
    assert strange == {}


#: "name: text" in the section "Attributes" of a docstring.
ENTRY = re.compile(r"^    (\w+): \S", re.MULTILINE)


MODELS = [
    value for value in vars(models).values() if isinstance(value, type) and ContractModel in value.__bases__
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_the_docstring_of_a_model_has_an_entry_for_each_field(model: type) -> None:
    section = re.split(r"\n\n(?=\S)", inspect.cleandoc(str(model.__doc__)).split("Attributes:\n", 1)[-1])[0]
    described = ENTRY.findall(section)
    fields = [field.name for field in contract.MODELS[model.__name__]]
    assert sorted(described) == sorted(fields), f"describe each field in the docstring of {model.__name__}"
