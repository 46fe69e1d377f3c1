"""Record commands on a terminal and draw them as an SVG. A test compares the drawing with a new one.

python -m tools.recording write     what `nox -s reference` does

The commands run for real, on a pseudoterminal, against the sandbox. The drawing has no script and loads
nothing. Where animation is off or not supported, it shows the last frame. This module needs `pty`, which
Windows does not have.
"""

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

DRAWING = Path(__file__).parents[1] / "docs" / "images" / "terminal.svg"
COMMANDS = (
    "thrive activity list --type completed --since 2024-06-01 --sandbox",
    "thrive activity get 60d5ec49b60b4b3a2c8f9a10 --sandbox",
)
COLUMNS = 80

CELL, ROW, EDGE, BAR = 8.4, 20, 16, 36  # pixels: width and height of a character, margin, title bar
PER_KEY, THINKING, READING = 0.02, 0.3, 1.5  # seconds
#: The codes that the command uses, as the CSS class of each. Any other code is an error.
STYLES = {"0": "", "1": "bold", "31": "red"}

FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}" role="img">
<title>{title}</title>
<style>
text {{ font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; \
white-space: pre; fill: #d8dee9 }}
.bold {{ font-weight: bold; fill: #ffffff }}
.red {{ fill: #ff7b72 }}
.prompt {{ fill: #7ee787 }}
.command {{ fill: #ffffff }}
@media (prefers-reduced-motion: no-preference) {{
.step {{ animation: show 0.01s backwards }}
.cover {{ animation: uncover backwards; transform-box: fill-box; transform-origin: right }}
@keyframes show {{ from {{ opacity: 0 }} }}
@keyframes uncover {{ from {{ transform: scaleX(1) }} to {{ transform: scaleX(0) }} }}
}}
</style>
<rect width="{width}" height="{height}" rx="8" fill="#161b22"/>
<g fill="#484f58">
<circle cx="20" cy="18" r="5"/><circle cx="38" cy="18" r="5"/><circle cx="56" cy="18" r="5"/>
</g>
{steps}
</svg>
"""


class Run(NamedTuple):
    """Characters of one style."""

    text: str
    style: str


def record(command: str) -> str:
    """Run a command on a pseudoterminal and return what it prints, with the codes for its styles.

    Args:
        command: A `thrive` command that succeeds.
    """
    program, *arguments = shlex.split(command)
    assert program == "thrive"
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {
        name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "SYSTEMROOT"}
    }
    environment |= {"TERM": "xterm-256color", "PYTHONUTF8": "1"}
    line = [sys.executable, "-m", "thrive_learning", *arguments]
    with subprocess.Popen(line, stdin=its, stdout=its, stderr=its, env=environment) as process:
        os.close(its)
        printed = bytearray()
        while chunk := _read(ours):
            printed += chunk
    os.close(ours)
    assert process.returncode == 0, printed.decode()
    return printed.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    """Return the next bytes, or none at the end, which Linux reports as an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def runs_of(line: str) -> list[Run]:
    """Split a line into runs of one style."""
    runs: list[Run] = []
    style = ""
    for number, part in enumerate(re.split(r"\x1b\[(\d+)m", line)):
        if number % 2:
            style = STYLES[part] and f"{style} {STYLES[part]}".strip()
        elif part:
            assert part.isprintable(), repr(part)
            runs.append(Run(part, style))
    return runs


def drawing_of(sessions: Sequence[tuple[str, str]]) -> str:
    """Draw commands and what each one printed.

    Args:
        sessions: Pairs of a command and its output, from `record`.
    """
    steps: list[str] = []
    at, top = THINKING, BAR
    for command, printed in sessions:
        duration = PER_KEY * len(command)
        typed = _row([Run("$ ", "prompt"), Run(command, "command")], top)
        steps += [_appearing([typed], at - THINKING), _cover(command, top, at, duration)]
        at += duration + THINKING
        lines = printed.splitlines()
        steps.append(
            _appearing((_row(runs_of(line), top + ROW * number) for number, line in enumerate(lines, 1)), at)
        )
        at += READING
        top += ROW * (len(lines) + 1) + ROW // 2
    return FRAME.format(
        width=round(COLUMNS * CELL + 2 * EDGE),
        height=top + EDGE // 2,
        title=escape("A terminal: " + ", then ".join(command for command, _ in sessions)),
        steps="\n".join(steps),
    )


def _row(runs: Sequence[Run], top: int) -> str:
    """Draw a line. Each word is where its cells are, and as wide, whatever the font is."""
    texts: list[str] = []
    column = 0
    for text, style in runs:
        for word in re.finditer(r"\S+(?: \S+)*", text):
            x = EDGE + (column + word.start()) * CELL
            width = len(word[0]) * CELL
            kind = f' class="{style}"' if style else ""
            texts.append(
                f'<text x="{x:.1f}" y="{top + 15}" textLength="{width:.1f}"{kind}>{escape(word[0])}</text>'
            )
        column += len(text)
    return "".join(texts)


def _appearing(rows: Iterable[str], at: float) -> str:
    """Group lines that appear at a time."""
    lines = "\n".join(rows)
    return f'<g class="step" style="animation-delay: {at:.2f}s">\n{lines}\n</g>'


def _cover(command: str, top: int, at: float, duration: float) -> str:
    """Draw a box over a command that shrinks to the right, one character at a time."""
    timing = f"animation-delay: {at:.2f}s; animation-duration: {duration:.2f}s; "
    timing += f"animation-timing-function: steps({len(command)})"
    return (
        f'<rect class="cover" x="{EDGE + 2 * CELL:.1f}" y="{top}" width="{len(command) * CELL:.1f}" '
        f'height="{ROW}" fill="#161b22" transform="scale(0 1)" style="{timing}"/>'
    )


def current_drawing() -> str:
    """Run the commands and draw them."""
    return drawing_of([(command, record(command)) for command in COMMANDS])


if __name__ == "__main__":
    assert sys.argv[1:] == ["write"], "say `write`"
    DRAWING.write_text(current_drawing(), encoding="utf-8")
