import subprocess

import pytest

from thrive_learning.cli.shells import remove_variables, set_variable


@pytest.mark.parametrize(
    ("platform", "line"),
    [
        ("linux", "export A='it'\"'\"'s $HOME'"),
        ("darwin", "export A='it'\"'\"'s $HOME'"),
        ("win32", "$env:A = 'it''s $HOME'"),
    ],
)
def test_a_variable_is_set_in_the_shell_of_the_system(platform: str, line: str) -> None:
    assert set_variable("A", "it's $HOME", platform) == line


@pytest.mark.parametrize(
    ("platform", "line"),
    [("linux", "unset A B"), ("win32", "Remove-Item -ErrorAction Ignore Env:A, Env:B")],
)
def test_variables_are_removed_in_the_shell_of_the_system(platform: str, line: str) -> None:
    assert remove_variables(["A", "B"], platform) == line


def test_a_posix_shell_reads_what_was_written() -> None:
    lines = [set_variable("A", "it's $HOME", "linux"), remove_variables(["B"], "linux"), 'echo "$A$B"']
    done = subprocess.run(["sh", "-c", "\n".join(lines)], check=True, capture_output=True, text=True)  # noqa: S607
    assert done.stdout == "it's $HOME\n"
