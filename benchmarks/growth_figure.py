"""The figure of growth: cost and work against replicas, levels, width and steps; readable in grey."""

from pathlib import Path
from typing import Any


def draw(found: dict[str, Any], path: Path) -> None:
    """Four log-log panels with one legend."""
    import matplotlib

    matplotlib.use("agg")
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(7.2, 6.0), layout="constrained")
    panels = figure.subplots(2, 2)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    for panel, one in zip(panels.flat, found.values(), strict=True):
        values, seconds, work = (np.array(one[name], float) for name in ("values", "seconds", "operations"))
        upper = slice((len(values) - 1) // 2, None)
        slope, offset = np.polyfit(np.log(values[upper]), np.log(seconds[upper]), 1)
        panel.loglog(
            values,
            work * seconds[-1] / work[-1],
            color="0.6",
            linestyle="--",
            marker="s",
            markersize=4,
            label="work, scaled to the same end",
        )
        panel.loglog(values, seconds, color="black", linestyle="none", marker="o", markersize=6, label="cost")
        panel.loglog(values[upper], np.exp(offset) * values[upper] ** slope, color="black", linewidth=1.2, label="fit to the upper half")
        panel.set_xlabel(one["label"])
        panel.set_ylabel("wall time (s)")
        panel.set_title(f"exponent {one['cost_exponent']:.2f}, of the work {one['work_exponent']:.2f}", fontsize=10)
        panel.set_xticks(values)
        panel.xaxis.set_major_formatter(plain)
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(plain)
        panel.xaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_minor_locator(NullLocator())
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)
