"""Rows → a PNG: CPU time of a warm `get`, relative to httpx."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Row, Summary

_COLOURS = {"ours": "#1f6f8b", "limit": "#c9c9c9", "bare": "#9a9a9a", "peer": "#d9a15b"}
_LEGEND = {"ours": "this SDK", "peer": "SDKs", "bare": "HTTP libraries by hand", "limit": "limits"}


def draw(rows: Sequence[Row], measures: Sequence[str], path: Path) -> bool:
    """Draw one panel for each measure that has rows, and return whether there were any."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    panels = [(measure, found) for measure in measures if (found := _bars(rows, measure))]
    if not panels:
        return False
    heights = [len(bars) + 1 for _, bars in panels]
    figure, axes = plt.subplots(
        len(panels), figsize=(9, 0.32 * sum(heights) + 1), height_ratios=heights, squeeze=False
    )
    for axis, (measure, bars) in zip(axes[:, 0], panels, strict=True):
        medians = [found.median for _, found in bars]
        spread = [
            [found.median - found.lower for _, found in bars],
            [found.upper - found.median for _, found in bars],
        ]
        axis.barh(
            [row.contender for row, _ in bars],
            medians,
            xerr=spread,
            color=[_COLOURS[row.kind] for row, _ in bars],
            error_kw={"elinewidth": 0.8},
        )
        for position, (_, figures) in enumerate(bars):
            axis.text(figures.upper + 0.02, position, f"{figures.median:.2f}", va="center", fontsize=8)
        axis.axvline(1, color="black", linewidth=0.8, linestyle="--")
        axis.invert_yaxis()
        axis.set_title(f"{measure}: CPU time relative {bars[0][0].note}", fontsize=10, loc="left")
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    legend = [Patch(color=_COLOURS[kind], label=label) for kind, label in _LEGEND.items()]
    axes[0, 0].legend(handles=legend, fontsize=8, loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return True


def _bars(rows: Sequence[Row], measure: str) -> list[tuple[Row, Summary]]:
    found = [(row, row.summary) for row in rows if row.measure == measure]
    known = [(row, figures) for row, figures in found if figures is not None]
    return sorted(known, key=lambda bar: bar[1].median)
