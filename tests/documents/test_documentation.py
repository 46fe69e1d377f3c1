"""The documents are true: their code runs, what they show is printed, and what they name is there.

Every Python block is executed, in one namespace for each document. Its output must be in a `text`
block behind it. One that begins with `# name.py` is a file. Shell blocks are read by `Shell`, which knows the
few commands that documents use. The four regions, and hosts below `.example`, are answered by a sandbox.
"""

import ast
import codeop
import inspect
import json
import logging
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import certifi
import httpx
import pytest
import respx
from example_programs import modules_imported_by
from harness import REGION_HOSTS, REGIONS, ROOT, as_regions, receive_webhook
from markdown_links import anchors, links_in
from sybil import Document, Example
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from thrive_learning import (
    ApiError,
    Attempt,
    Region,
    RetryPolicy,
    SandboxOptions,
    ThriveClient,
    ThriveError,
    Timeout,
    TokenError,
    UnexpectedResponseError,
    errors,
)
from thrive_learning._settings.layers import profile_layer
from thrive_learning._settings.profiles import load_profiles
from thrive_learning._settings.resolution import resolve_layers
from thrive_learning.cli import program
from thrive_learning.sandbox import Sandbox

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("openapi/*.md")])
#: The kinds of blocks. Each kind is executed or compared. A block of another kind would not be checked.
LANGUAGES = ["python", "sh", "console", "text", "toml", "layers", "mermaid"]
SETTINGS = {
    "THRIVE_TENANT_ID": "eu-west-2_AbcdEfghI",
    "THRIVE_API_SECRET": "fake-api-secret",
    "THRIVE_CLIENT_ID": "reports",
    "THRIVE_CLIENT_SECRET": "fake-client-secret",
}
BASIC = {name: SETTINGS[name] for name in ("THRIVE_TENANT_ID", "THRIVE_API_SECRET")}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# Executing


def stable(text: str) -> str:
    """The shown or printed text, except parts that differ between runs."""
    text = re.sub(r"(request\s+ID\s+)[0-9a-f]{32}", r"\1…", text)
    text = re.sub(r"\S+(?=[/\\]thrive-learning[/\\]config\.toml)", "~/.config", text)
    text = re.sub(r"in [0-9.]+ s \([0-9,]+/s\)", "in …", text)
    return re.sub(r"passed in [0-9.]+s", "passed in …", text).strip("\n")


class Shell:
    """Runs the commands of shell blocks, in this process where they talk to the mocked API."""

    #: They would install, wait or change the repository: that they are spelled right is not tested here.
    NOT_RUN = re.compile(
        r"python3 -m pip install |python3 -m venv |source |mkdir |cd |nox\b|uv sync |pre-commit install"
    )

    def __init__(self, capture: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capture = capture
        self._monkeypatch = monkeypatch
        #: The exit code of the last command.
        self.code = 0
        self._server: subprocess.Popen[str] | None = None
        # A document names a port, as its reader may. Here the server has one that is free.
        self._port, self._port_shown = "", ""

    def run(self, line: str) -> str | None:
        """Run a line: what it prints, or None where that is not known."""
        printed: str | None = ""
        for command in line.split(" && "):
            printed = None if self.NOT_RUN.match(command) else self._command(command)
        return (
            printed.replace(f":{self._port}", f":{self._port_shown}") if printed and self._port else printed
        )

    def close(self) -> None:
        """End the server that a document has started, as its reader does."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.communicate(timeout=60)
            assert self._server.returncode == 0
            self._server = None

    def _serve(self, arguments: list[str]) -> str:
        self.close()
        self._port_shown = arguments[arguments.index("--port") + 1]
        arguments = [*arguments, "--port", "0"]  # the last one counts
        command = "import sys; from thrive_learning.cli import main; main()"
        self._server = subprocess.Popen(
            [sys.executable, "-u", "-c", command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        lines: list[str] = []
        assert self._server.stdout is not None
        for line in self._server.stdout:
            lines.append(line)
            if line.startswith("Press Ctrl-C"):
                break
        found = re.search(r"127\.0\.0\.1:(\d+)", "".join(lines))
        assert found, lines
        self._port = found[1]
        health = httpx.get(f"http://127.0.0.1:{self._port}/health", timeout=60)
        health.raise_for_status()  # it serves, and Ctrl-C ends it
        return "".join(lines)

    def begin(self, lines: list[str]) -> None:
        """A block that sets credentials stands for a new shell: those of earlier ones are not there."""
        if any("THRIVE_" in line and "export " in line for line in lines):
            for name in [name for name in os.environ if name.startswith("THRIVE_")]:
                self._monkeypatch.delenv(name)

    def _command(self, command: str) -> str | None:  # noqa: C901, PLR0911, PLR0912 - a table
        program_, *arguments = shlex.split(re.split(r" [|>] ", command)[0])
        match program_, arguments:
            case "export", [setting]:
                name, equals, value = setting.partition("=")
                if equals:
                    port = f":{self._port}" if self._port else ""
                    value = value.replace(f":{self._port_shown}", port) if port else value
                    self._monkeypatch.setenv(name, value)
                assert name in os.environ
                return ""
            case "unset", names:
                for name in names:
                    self._monkeypatch.delenv(name, raising=False)
                return ""
            case "read", ["-rs", name]:
                self._monkeypatch.setenv(name, SETTINGS[name])
                return ""
            case "echo", ["$?"]:
                return f"{self.code}\n"
            case "printf", ["%s\\n", *words]:
                Path(command.partition(" > ")[2]).write_text("\n".join([*words, ""]), encoding="utf-8")
                self.code = 0
                return ""
            case "cat", [name]:
                return Path(name).read_text(encoding="utf-8")
            case "thrive", ["sandbox", "--port", *_]:
                return self._serve(arguments)
            case "thrive", _:
                return self._thrive(command, arguments)
            case "python3", ["-m", "pytest", "-q", *_]:
                return self._pytest(arguments)
            case "python3", [script]:
                # A script has a process of its own, and so its own handlers.
                logger = logging.getLogger("thrive_learning")
                handlers, level = logger.handlers[:], logger.level
                self._capture.readouterr()
                runpy.run_path(script)
                logger.handlers[:] = handlers
                logger.setLevel(level)
                return self._capture.readouterr().out
            case _:
                raise AssertionError(f"this shell does not know {command!r}")

    def _thrive(self, command: str, arguments: list[str]) -> str | None:
        _, _, reader = command.partition(" | ")
        self._capture.readouterr()
        _, _, file = command.partition(" > ")
        self._monkeypatch.setattr(sys.stdout, "isatty", lambda: not reader and not file)
        self.code = program.run(arguments)
        out, err = self._capture.readouterr()
        if file:
            Path(file).write_text(out, encoding="utf-8")
            return err
        printed = out + err
        if reader.startswith("jq "):
            read_as_jq_does(out)
            return None
        assert reader in {"", "cat"}
        return printed

    def _pytest(self, arguments: list[str]) -> str:
        alone = ["-c", os.devnull, "--rootdir=.", "-p", "no:cacheprovider", "-W", "error"]
        alone += ["-p", "thrive_learning.testing.plugin"]  # which is found by itself where others are
        no_network = ["-p", "pytest_socket", "--allow-hosts=127.0.0.1,::1"]
        done = subprocess.run(
            [sys.executable, *arguments, *alone, *no_network],
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # most take long to load
            capture_output=True,
            check=False,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def read_as_jq_does(text: str) -> None:
    """Read one JSON document after the other."""
    while text := text.strip():
        _, end = json.JSONDecoder().raw_decode(text)
        text = text[end:]


class Runner:
    """Evaluates the blocks of one document, one after the other."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str], shell: Shell) -> None:
        self._folder = folder
        self._capture = capture
        self._shell = shell
        self._python = PythonEvaluator()
        # The output of the last block, None if unknown; and whether the next block must show it.
        self._printed: str | None = None
        self._has_to_be_shown = False
        self.count = 0

    def parsers(self) -> list[CodeBlockParser]:
        evaluators: dict[str, Callable[[Example], None]] = {
            "python": self.python,
            "sh": self.sh,
            "console": self.console,
            "text": self.text,
            "toml": self.toml,
        }
        return [CodeBlockParser(language, evaluator) for language, evaluator in evaluators.items()]

    def python(self, example: Example) -> None:
        self.end()
        self.count += 1
        file = re.match(r"# (\w+\.py)\n", example.parsed)
        if file:
            (self._folder / file[1]).write_text(example.parsed, encoding="utf-8")
            return
        self._capture.readouterr()
        self._python(example)
        self._printed = self._capture.readouterr().out
        self._has_to_be_shown = bool(self._printed)

    def sh(self, example: Example) -> None:
        """Commands that succeed. The next block may show the output of the last one."""
        self.end()
        self.count += 1
        lines = example.parsed.splitlines()
        self._shell.begin(lines)
        self._printed = None
        for line in lines:
            self._printed = self._shell.run(line)
            assert self._shell.code == 0, self._printed

    def console(self, example: Example) -> None:
        """Commands behind `$`, each followed by what it prints; that of one that succeeds may be left out."""
        self.end()
        self.count += 1
        sessions = re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", example.parsed, re.MULTILINE)
        assert sessions
        self._shell.begin([command for command, _ in sessions])
        for command, shown in sessions:
            printed = self._shell.run(command)
            if shown:
                assert printed is not None, f"nobody knows what {command!r} prints"
                # A line with an ellipsis stands for any number of lines.
                parts = [re.escape(part) for part in f"\n{stable(shown)}\n".split("\n…\n")]
                assert re.fullmatch("\n(?:.*\n)*".join(parts), f"\n{stable(printed)}\n"), printed
            else:
                assert self._shell.code == 0, printed

    def text(self, example: Example) -> None:
        assert self._printed is not None, "what shows this? It follows nothing that prints"
        assert stable(example.parsed) == stable(self._printed)
        self._printed = None
        self._has_to_be_shown = False

    def toml(self, example: Example) -> None:
        """A config file, each of which makes sense."""
        self.end()
        path = self._folder / "shown.toml"
        path.write_text(example.parsed, encoding="utf-8")
        file = load_profiles(path)
        assert file.tables
        for name in file.tables:
            resolve_layers([profile_layer(file, name)])

    def end(self) -> None:
        """The output of a Python block was shown."""
        assert not self._has_to_be_shown, f"the document does not show that this is printed: {self._printed}"


@pytest.fixture
def api() -> Iterator[respx.MockRouter]:
    """The four regions, and whatever lies below `.example`, as a sandbox answers."""
    sandbox = Sandbox(
        tenant_id=SETTINGS["THRIVE_TENANT_ID"],
        api_secret=SETTINGS["THRIVE_API_SECRET"],
        client_id=SETTINGS["THRIVE_CLIENT_ID"],
        client_secret=SETTINGS["THRIVE_CLIENT_SECRET"],
    )
    respond = as_regions(sandbox)
    with respx.mock(assert_all_called=False) as router:
        router.route(scheme="https", host__in=REGION_HOSTS).mock(side_effect=respond)
        router.route(scheme="https", host__regex=r"\.example$").mock(side_effect=respond)
        # The reader's receiver of webhooks.
        router.post("http://127.0.0.1:8000/webhooks").mock(side_effect=receive_webhook)
        router.route(host="127.0.0.1").pass_through()  # a sandbox that a document has started
        yield router


@pytest.fixture
def runner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runner]:
    """A runner in a folder of its own, with credentials for HTTP Basic in the environment."""
    profiles = str(tmp_path / ".config")
    folders = {"XDG_CONFIG_HOME": profiles, "LOCALAPPDATA": profiles}
    for name, value in {**BASIC, **folders, "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "THRIVE_DEBUG", "THRIVE_LOG"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(certifi.where(), tmp_path / "company-ca.pem")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)
    shell = Shell(capsys, monkeypatch)
    yield Runner(tmp_path, capsys, shell)
    shell.close()
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) == str(tmp_path / f"{name}.py"):
            del sys.modules[name]


def execute(document: Document, runner: Runner) -> None:
    for parser in runner.parsers():
        for region in parser(document):
            document.add(region)
    for example in document:
        example.evaluate()
    runner.end()


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_document_does_what_it_shows(path: Path, runner: Runner) -> None:
    document = Document(path.read_text(encoding="utf-8"), str(path))
    if "import duckdb" in document.text:
        pytest.importorskip("duckdb", reason="duckdb is not installed on every Python")
    execute(document, runner)
    # Another program's reading of what a block is: none was overlooked.
    blocks = re.findall(r"^[ \t]*```(?:python|sh|console)$", document.text, re.MULTILINE)
    assert runner.count == len(blocks)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_no_block_is_hidden_by_its_language(path: Path) -> None:
    fences = re.findall(r"^[ \t>*-]*(?:```+|~~~+)(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) % 2 == 0
    assert set(fences[::2]) <= {"", *LANGUAGES}
    assert set(fences[1::2]) <= {""}


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    "wrong",
    [
        "```python\nprint(1)\n```\n```text\n2\n```\n",
        "```python\nprint(1)\n```\n",
        "```python\nraise SystemError\n```\n",
        "```python\nimport httpx\nhttpx.get('https://other.test')\n```\n",
        "```text\n1\n```\n",
        "```sh\nthrive --version\n```\n```text\nthrive 0\n```\n",
        "```sh\nrm -rf x\n```\n",
        "```console\n$ thrive --version\nthrive 0\n```\n",
        "```console\n$ thrive --version\n…\nthrive 0\n```\n",
        f"```console\n$ thrive activity get {'0' * 24} --sandbox | cat\n{{}}\n```\n",
        f"```console\n$ thrive activity get {'0' * 24} --sandbox\n$ echo $?\n0\n```\n",
        "```python\n# test_x.py\ndef test(): assert 0\n```\n```sh\npython3 -m pytest -q test_x.py\n```\n",
        "```python\n# x.py\nprint(1)\n```\n```console\n$ python3 x.py\n2\n```\n",
    ],
)
def test_a_block_that_is_wrong_is_noticed(wrong: str, runner: Runner) -> None:
    document = Document(wrong, "wrong.md")
    with pytest.raises((AssertionError, SystemError)):
        execute(document, runner)


def test_the_two_commands_are_in_the_readme() -> None:
    for command in (
        "python3 -m pip install '.[cli]' && thrive activity get 60d5ec49b60b4b3a2c8f9a10 --sandbox",
        "python3 -m pip install 'nox[uv]' && nox",
    ):
        assert f"```sh\n{command}\n```" in read("README.md")


def readme_examples() -> list[str]:
    blocks: list[str] = re.findall(r"```python\n(.+?)```", read("README.md"), re.DOTALL)
    return blocks[:2]


def test_the_examples_of_the_readme_are_short() -> None:
    assert ["async" in example for example in readme_examples()] == [False, True]
    assert all(".sandbox()" in example for example in readme_examples())
    assert all(len(example.splitlines()) <= 8 for example in readme_examples())


@pytest.mark.usefixtures("api", "runner")
def test_the_examples_of_the_readme_work_with_credentials_as_it_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for example, shown in zip(readme_examples(), ("665d7d88b60b4b3a2c000028 ", "['665d7d"), strict=True):
        execute_alone = Document(f"```python\n{example.replace('sandbox', 'from_env')}```\n", "env.md")
        for region in CodeBlockParser("python", PythonEvaluator())(execute_alone):
            execute_alone.add(region)
        for block in execute_alone:
            block.evaluate()
        assert capsys.readouterr().out.startswith(shown)


# Steps of the reader


def test_the_blocks_for_the_prompt_of_python_can_be_pasted() -> None:
    """The prompt ends a compound statement at an empty line only."""
    section = read("docs/tutorial.md").partition("\nIn `python3`, ")[2].partition("\n## ")[0]
    blocks: list[str] = re.findall(r"```python\n(.+?)```", section, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        statement: list[str] = []
        for line in [*block.splitlines(), ""]:
            statement.append(line)
            if codeop.compile_command("\n".join(statement)) is not None:  # as `code.InteractiveConsole` does
                statement = []
        assert statement == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_page_says_how_to_install_what_it_imports(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    own = {"thrive_learning", *re.findall(r"^# (\w+)\.py$", text, re.MULTILINE)}
    dependencies = {"httpx", "attrs", "anyio"}
    installed = {name.replace("-", "_") for name in re.findall(r"[a-z][\w-]+", installs(text))}
    installed |= {"opentelemetry"} & {name.partition("_")[0] for name in installed}
    assert (
        set().union(*map(modules_imported_by, blocks)) - own - dependencies - sys.stdlib_module_names
        <= installed
    )


def installs(text: str) -> str:
    """The commands of a page that install something."""
    return "\n".join(re.findall(r"python3 -m pip install ([^`\n]+)", text))


#: The line of a page whose blocks read the reader's own region, while the output comes from the sandbox.
OUTPUT = "The output on this page is that of [the sandbox](run-the-sandbox.md), if you paste its variables."


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_page_that_shows_output_of_the_sandbox_says_so(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    shown = re.findall(r"^```python\n((?:(?!^```).)*?)^```\n+```text$", text, re.DOTALL | re.MULTILINE)
    assert (OUTPUT in text) == any("from_env(" in block and ".activities." in block for block in shown)


# Names and links


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    for link in links_in(path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), link
        assert there.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_the_files_and_tests_that_are_named_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    folders = "src|tests|docs|openapi|generated|examples"
    for name, test in re.findall(rf"`((?:{folders})/[\w./-]+?)(?:::(\w+))?`", text):
        assert (ROOT / name).exists(), name
        if test:
            assert re.search(rf"^(?:async )?def {test}\(", read(name), re.MULTILINE), f"{name}::{test}"


def test_every_page_is_listed_in_an_index() -> None:
    """The navigation of the site comes from these lists."""
    folder = ROOT / "docs"
    linked = {
        (index.parent / link).resolve().relative_to(folder).as_posix()
        for index in folder.rglob("README.md")
        for link in re.findall(r"\]\(([\w/-]+\.md)\)", index.read_text(encoding="utf-8"))
    }
    pages = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}
    assert sorted(linked) == sorted(pages - {"README.md"})


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_nothing_of_one_machine_and_nothing_that_looks_like_a_secret(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:home|Users|root|tmp|work|opt)/|\.\./shared|[A-Za-z0-9+/]{40,}", text)


# The code compared with the documents


def rows(name: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    text = re.split(rf"^#+ {re.escape(heading)}$", read(name), flags=re.MULTILINE)[1]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table[0].splitlines()]
    return cells[2:]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def first_column(name: str, heading: str) -> list[str]:
    return [word for row in rows(name, heading) for word in quoted(row[0])]


def error_classes() -> set[str]:
    return {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }


def test_the_reference_of_errors_names_every_class() -> None:
    page = read("docs/reference/errors.md")
    tree = re.search(r"```\n(ThriveError.+?)```", page, re.DOTALL)
    assert tree is not None
    assert set(re.findall(r"\w+Error\b", tree[1])) - {"RuntimeError", "ValueError", "TimeoutError"} == (
        error_classes()
    )
    explained = rows("docs/reference/errors.md", "Causes and fixes")
    assert sorted(quoted(row[0])[0] for row in explained) == sorted(error_classes())
    assert all(cause and fix for _name, cause, fix in explained)


def test_the_reference_names_the_attributes_of_errors() -> None:
    page = read("docs/reference/errors.md")
    attributes = {*ApiError.__annotations__, "is_transient"}
    named = re.search(r"\| Attribute of `ApiError`.+?\n\n", page, re.DOTALL)
    assert named is not None
    assert set(re.findall(r"^\| `(\w+)` \|", named[0], re.MULTILINE)) == attributes
    for attribute in [*TokenError.__annotations__, *UnexpectedResponseError.__annotations__]:
        assert f"`{attribute}`" in page
    every = {*ThriveError.__annotations__, "attempts", "is_transient", "is_final"}
    assert {*first_column("docs/reference/errors.md", "Attributes of every error")} == every
    assert first_column("docs/reference/errors.md", "Attempts") == list(Attempt._fields)


def test_the_reference_names_every_reason_of_an_error() -> None:
    page = read("docs/reference/errors.md")
    code = read("src/thrive_learning/_exchange/failures.py")
    reasons = re.findall(r'(?:return|message =|else) "(\w+)"(?:,| if)', code)
    shown = first_column("docs/reference/errors.md", "No usable response")
    assert {*shown} == {*reasons, "timeout", "None"}  # DeadlineExceededError has the reason `timeout`
    code = read("src/thrive_learning/_deliveries.py") + read("src/thrive_learning/webhooks.py")
    webhooks_section = page.split("## Webhooks")[1].split("\n## ")[0]
    assert {*re.findall(r'reason="(\w+)"', code)} == {
        word for word in quoted(webhooks_section) if re.fullmatch("[a-z_]+", word) and word != "reason"
    }


def test_the_readme_names_the_regions_and_their_hosts() -> None:
    expected = [[region.name, httpx.URL(region.api_url).host] for region in REGIONS]
    assert [[quoted(row[0])[0], quoted(row[2])[0]] for row in rows("README.md", "Regions")] == expected
    constants = [quoted(row[1])[0].removeprefix("Region.") for row in rows("README.md", "Regions")]
    assert [getattr(Region, constant) for constant in constants] == REGIONS


def test_the_variables_are_those_of_the_code() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    variables = set(re.findall(r"\bTHRIVE_[A-Z_]+\b", code))
    named = re.findall(r"^\| `(THRIVE_[A-Z_]+)` \|", read("docs/reference/settings.md"), re.MULTILINE)
    assert set(named) == variables
    # The first page has those that most people need.
    named = re.findall(r"^\| `(THRIVE_[A-Z_]+)` \|", read("README.md"), re.MULTILINE)
    assert {*SETTINGS, "THRIVE_REGION", "THRIVE_SCOPES"} == set(named) <= variables


def test_the_reference_names_every_argument_of_a_client_and_each_retry_setting() -> None:
    shown = first_column("docs/reference/settings.md", "The client")
    parameters = inspect.signature(ThriveClient.__init__).parameters
    assert sorted(shown) == sorted({*parameters} - {"self"})
    of_sandbox = re.search(r"`sandbox\(\)` takes (.+?)\.", read("docs/reference/settings.md"))
    assert of_sandbox is not None
    assert {*quoted(of_sandbox[1])} == {"client_auth", *SandboxOptions.__annotations__}
    retry = {quoted(row[0])[0]: float(row[1]) for row in rows("docs/reference/settings.md", "RetryPolicy")}
    assert retry == attrs.asdict(RetryPolicy())


def test_the_time_limits_are_those_of_the_code() -> None:
    shown = {quoted(row[0])[0]: float(row[1]) for row in rows("docs/reference/settings.md", "Timeout")}
    assert shown == attrs.asdict(Timeout())


def test_the_sessions_are_those_of_nox() -> None:
    tree = ast.parse(read("noxfile.py"))
    sessions: dict[str, bool] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                source = ast.unparse(decorator)
                if source.startswith("nox.session"):
                    other_name = re.search(r"name='([\w-]+)'", source)
                    name = other_name[1] if other_name else node.name
                    sessions[name] = "default=False" not in source
    shown = {quoted(row[0])[0]: row[2] == "yes" for row in rows("CONTRIBUTING.md", "The sessions of nox")}
    assert shown == sessions


def dependencies() -> set[str]:
    project: dict[str, Any] = tomllib.loads(read("pyproject.toml"))
    groups = [*project["dependency-groups"].values(), *project["project"]["optional-dependencies"].values()]
    groups += [project["project"]["dependencies"], project["build-system"]["requires"]]
    requirements = [requirement for group in groups for requirement in group if isinstance(requirement, str)]
    return {re.split(r"[\[<>=!~ ;]", requirement)[0] for requirement in requirements}


def test_every_dependency_has_a_sentence_and_no_other() -> None:
    shown = ", ".join(
        row[0] for row in rows("docs/decisions/0009-development-dependencies.md", "Decision")
    ).split(", ")
    assert sorted(shown) == sorted(dependencies())


def test_every_extra_is_in_the_readme() -> None:
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    assert first_column("README.md", "Extras") == list(extras)


@pytest.mark.parametrize("path", sorted((ROOT / "docs/decisions").glob("[0-9]*.md")), ids=name_of)
def test_a_decision_has_its_form(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {path.name[:4]} ")
    assert re.search(r"^2\d{3}-\d\d-\d\d$", text, re.MULTILINE)
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    superseded_by = re.search(r"^Superseded by \[\d{4}\]\((.+)\) on 2\d{3}-\d\d-\d\d\.$", text, re.MULTILINE)
    if superseded_by is None:
        assert headings == ["Context", "Decision", "Consequences"]
    else:
        assert not headings
        newer = (path.parent / superseded_by[1]).read_text(encoding="utf-8")
        [supersedes] = re.findall(r"^Supersedes .+$", newer, re.MULTILINE)
        assert f"({path.name})" in supersedes
