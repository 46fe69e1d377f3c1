"""Rows → Markdown. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.figures import Row, Summary, Target

NOT_AVAILABLE = "not available yet"


def number(value: float) -> str:
    """Return a number with about three significant digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10 or value == int(value):
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table. Cells are padded, so that it is readable as text too."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(3, *(len(row[index]) for row in cells)) for index in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def quartiles(found: Summary) -> str:
    """Return the range of the middle half of a sample."""
    return f"{number(found.lower)} to {number(found.upper)}" if found.size > 1 else ""


def find(rows: Iterable[Row], measure: str, contender: str) -> Row | None:
    """Find the row of a contender in a measure."""
    return next((row for row in rows if (row.measure, row.contender) == (measure, contender)), None)


def targets_table(rows: Sequence[Row], targets: Sequence[Target]) -> str:
    """Compare the results with the targets, without measures that were not run."""
    measured = {row.measure for row in rows}
    lines: list[list[str]] = []
    for target in targets:
        if target.measure not in measured:
            continue
        row = find(rows, target.measure, target.contender)
        limit = find(rows, target.measure, target.limit)
        bound = f"{'≥' if target.at_least else '≤'} {number(target.bound)}"
        at_best = number(limit.summary.median) if limit and limit.summary else ""
        found = row.summary if row else None
        if found is None:
            lines.append([target.what, target.contender, at_best, bound, NOT_AVAILABLE, "", "", ""])
            continue
        met = "yes" if target.is_met(found.median) else "**no**"
        lines.append(
            [
                target.what,
                target.contender,
                at_best,
                bound,
                number(found.median),
                quartiles(found),
                str(found.size),
                met,
            ]
        )
    return table(["Measure", "Who", "Limit", "Target", "Median", "Quartiles", "n", "Met"], lines)


def measure_table(rows: Sequence[Row]) -> str:
    """Show all contenders of one measure, the smallest number first."""
    extra = list(dict.fromkeys(name for row in rows for name in row.also))
    found = [(row, row.summary) for row in rows]
    known = sorted(
        ((row, figures) for row, figures in found if figures is not None), key=lambda pair: pair[1].median
    )
    lines = [
        [
            f"**{row.contender}**" if row.kind == "ours" else row.contender,
            number(figures.median),
            quartiles(figures),
            str(figures.size),
            *(number(row.also[key]) if key in row.also else "" for key in extra),
        ]
        for row, figures in known
    ]
    return table(["Contender", _sentence(rows[0].unit), "Quartiles", "n", *extra], lines)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _relative(note: str) -> str:
    return f"Relative {note}" if note.startswith("to ") else _sentence(note)


def _notes(rows: Sequence[Row]) -> str:
    """Return the references of the numbers, once if all agree, and the missing numbers with their reasons."""
    notes = list(dict.fromkeys(row.note for row in rows if row.sample))
    if len(notes) == 1:
        sentences = [f"{_relative(note)}." for note in notes if note]
    else:
        sentences = [f"{_sentence(row.contender)}: {row.note}." for row in rows if row.sample and row.note]
    sentences += [f"{_sentence(row.contender)}: {row.note}." for row in rows if not row.sample]
    return "\n".join(f"- {sentence}" for sentence in sentences)


def markdown(
    rows: Sequence[Row], targets: Sequence[Target], about: Mapping[str, str], chart: str | None
) -> str:
    """Return the page of a run.

    Args:
        rows: The results.
        targets: The targets.
        about: The machine and the run.
        chart: The file name of the chart, if one was drawn.
    """
    parts = ["# Results", "Written by `nox -s bench`; [how it is measured](../performance.md)."]
    parts.append("\n".join(f"- {name}: {value}" for name, value in about.items()))
    parts += ["## Targets", targets_table(rows, targets)]
    if chart is not None:
        parts.append(f"![CPU time of a warm get, relative to httpx]({chart})")
    for measure in dict.fromkeys(row.measure for row in rows):
        of_measure = [row for row in rows if row.measure == measure]
        parts.append(f"## {_sentence(measure)}")
        if any(row.sample for row in of_measure):
            parts.append(measure_table(of_measure))
        if note := _notes(of_measure):
            parts.append(note)
    return "\n\n".join(parts) + "\n"
