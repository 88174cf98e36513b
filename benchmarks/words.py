"""How the benchmark's table writes numbers."""

from typing import Any

WIDTH = 100


def title(text: str) -> list[str]:
    return ["", text, "-" * WIDTH]


def brief(time: dict[str, Any]) -> str:
    """Median and range of a short time, in the unit that suits it."""
    unit, factor = ("us", 1e6) if time["median"] < 0.01 else ("ms", 1e3)
    form = ".1f" if unit == "ms" and time["median"] < 0.1 else ".0f"
    median, least, most = (format(factor * time[name], form) for name in ("median", "min", "max"))
    return f"{median} ({least}-{most}) {unit}"


def once(time: float) -> str:
    return f"{1e6 * time:.0f} us" if time < 0.01 else f"{1e3 * time:.0f} ms"


def seconds(time: dict[str, Any]) -> str:
    return f"{time['median']:.2f} s ({time['min']:.2f}-{time['max']:.2f})"


def share(found: dict[str, Any]) -> str:
    return f"{found['median']:.1%} ({found['min']:.1%}-{found['max']:.1%})"


def ratio(slow: dict[str, Any], fast: dict[str, Any]) -> str:
    return f"{slow['median'] / fast['median']:.2f}x"


def met(good: bool) -> str:
    return "met" if good else "NOT MET"
