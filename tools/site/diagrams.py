"""Draws the flowcharts of documents: a subset of Mermaid in, an SVG out. Pure.

GitHub draws the same text itself. The site draws it here, because Mermaid is a script, which a reader would
load. The chart is a tree from top to bottom, one box a row, so it fits on a phone. An arrow that the tree has
no room for goes around it on the right.
"""

import html
import re
import textwrap
import zlib
from typing import NamedTuple

_NODE = re.compile(r'(\w+)\["([^"]+)"\]')
_ARROW = re.compile(r"(\w+) (-->|-\.->)(?:\|([^|]+)\|)? (\w+)")

_INDENT, _GAP, _LINE, _PADDING = 22, 10, 15, 10
_NAME, _DETAIL = 7.9, 6.2  # the width of a character
_CHARACTERS = 36  # of a line of a detail, so that most diagrams fit on a phone
_NARROWEST = 420  # what is left of a wider diagram before a phone scrolls it


class DiagramError(Exception):
    """A flowchart has a line that this module cannot draw."""


class _Arrow(NamedTuple):
    start: str
    is_dotted: bool
    label: str
    end: str


class _Place(NamedTuple):
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def draw(text: str, label: str) -> str:
    """Return a flowchart as an `<svg>` element of one line, which CSS colors.

    Args:
        text: The lines of a `mermaid` block: `flowchart TD`, nodes as `name["text<br/>text"]`, and arrows as
            `a --> b`, `a -.-> b`, or with a label, `a -->|label| b`.
        label: What the chart shows, for readers who do not see it.

    Raises:
        DiagramError: A line has another form, or an arrow leads to a node that does not exist.
    """
    nodes, arrows = _read(text)
    parents = _parents(nodes, arrows)
    places: dict[str, _Place] = {}
    bottom = 4.0
    for name, depth in _walk(nodes, parents):
        title, *details = nodes[name]
        width = max([len(title) * _NAME, *(len(line) * _DETAIL for line in details)]) + 2 * _PADDING
        places[name] = _Place(4 + depth * _INDENT, bottom, width, 12 + _LINE * len(nodes[name]))
        bottom += places[name].height + _GAP
    right = max(place.x + place.width for place in places.values())
    around = [arrow for arrow in arrows if parents[arrow.end] != arrow.start]
    tip = f"tip-{zlib.crc32(text.encode())}"  # a page may have several diagrams
    shapes = [_connect(arrow, places, tip) for arrow in arrows if arrow not in around]
    shapes += [
        _lead_around(arrow, places, right + _GAP * (number + 1), tip) for number, arrow in enumerate(around)
    ]
    shapes += [_box(nodes[name], place) for name, place in places.items()]
    width = right + _GAP * (len(around) + 1)
    return (
        f'<div class="diagram"><svg role="img" aria-label="{html.escape(label)}" '
        f'viewBox="0 0 {width:.0f} {bottom:.0f}" width="{width:.0f}" height="{bottom:.0f}" '
        f'style="min-width: {min(width, _NARROWEST):.0f}px">'
        f'<defs><marker id="{tip}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>'
        f"{''.join(shapes)}</svg></div>"
    )


def _read(text: str) -> tuple[dict[str, list[str]], list[_Arrow]]:
    first, *lines = [line.strip() for line in text.strip().splitlines()]
    if first not in {"flowchart TD", "flowchart TB"}:
        raise DiagramError(f"a diagram begins with {first!r}. Write `flowchart TD`.")
    nodes: dict[str, list[str]] = {}
    arrows: list[_Arrow] = []
    for line in lines:
        if node := _NODE.fullmatch(line):
            title, *details = re.split(r"<br ?/?>", node[2])
            nodes[node[1]] = [title, *textwrap.wrap(" ".join(details), _CHARACTERS)]
        elif arrow := _ARROW.fullmatch(line):
            arrows.append(_Arrow(arrow[1], arrow[2] == "-.->", arrow[3] or "", arrow[4]))
        else:
            raise DiagramError(f"a diagram has the line {line!r}, which is neither a node nor an arrow.")
    unknown = {name for arrow in arrows for name in (arrow.start, arrow.end)} - nodes.keys()
    if unknown or not nodes:
        raise DiagramError(f"arrows name nodes that do not exist: {', '.join(sorted(unknown))}.")
    return nodes, arrows


def _parents(nodes: dict[str, list[str]], arrows: list[_Arrow]) -> dict[str, str | None]:
    """Return the node that each node hangs from: the nearest to the top that has an arrow to it."""
    below = {name: [arrow.end for arrow in arrows if arrow.start == name] for name in nodes}
    ends = {arrow.end for arrow in arrows}
    roots = [name for name in nodes if name not in ends] or [next(iter(nodes))]
    parents: dict[str, str | None] = dict.fromkeys(roots)
    queue = roots
    while queue:
        for child in below[queue[0]]:
            if child not in parents:
                parents[child] = queue[0]
                queue = [*queue, child]
        queue = queue[1:]
    return parents | {name: None for name in nodes if name not in parents}


def _walk(nodes: dict[str, list[str]], parents: dict[str, str | None]) -> list[tuple[str, int]]:
    """Return the nodes from top to bottom, each with its depth."""
    found: list[tuple[str, int]] = []

    def visit(name: str, depth: int) -> None:
        found.append((name, depth))
        for child in nodes:
            if parents[child] == name:
                visit(child, depth + 1)

    for name in nodes:
        if parents[name] is None:
            visit(name, 0)
    return found


def _line(arrow: _Arrow, path: str, tip: str) -> str:
    dotted = " dotted" if arrow.is_dotted else ""
    return f'<path class="arrow{dotted}" marker-end="url(#{tip})" d="{path}"/>'


def _text(x: float, y: float, kind: str, text: str) -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}">{html.escape(text)}</text>'


def _connect(arrow: _Arrow, places: dict[str, _Place], tip: str) -> str:
    start, end = places[arrow.start], places[arrow.end]
    x, y = start.x + _INDENT / 2, end.middle
    label = _text(end.x + end.width + 6, y + 4, "label", arrow.label) if arrow.label else ""
    return _line(arrow, f"M{x:.0f} {start.y + start.height:.0f}V{y:.0f}H{end.x:.0f}", tip) + label


def _lead_around(arrow: _Arrow, places: dict[str, _Place], x: float, tip: str) -> str:
    start, end = places[arrow.start], places[arrow.end]
    path = f"M{start.x + start.width:.0f} {start.middle:.0f}H{x:.0f}V{end.middle:.0f}"
    path += f"H{end.x + end.width:.0f}"
    return _line(arrow, path, tip)


def _box(lines: list[str], place: _Place) -> str:
    corner = f'x="{place.x:.0f}" y="{place.y:.0f}"'
    shapes = [f'<rect {corner} width="{place.width:.0f}" height="{place.height:.0f}" rx="5"/>']
    for number, line in enumerate(lines):
        kind = "detail" if number else "name"
        shapes.append(_text(place.x + _PADDING, place.y + 17 + number * _LINE, kind, line))
    return "".join(shapes)
