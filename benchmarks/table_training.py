"""The part of the benchmark's table that is about a training step."""

from typing import Any

from networks import NETWORKS, Network
from setting import CORES
from words import brief, met, once, ratio, title

ARITHMETIC = 0.8
"""Of the arithmetic limit: the least that LeNet-300-100 should reach with a replica on each core."""
SCALING = 1.9
"""How many times as fast two cores should be as one."""


def speed(results: dict[str, Any]) -> list[str]:
    lines = [
        *title("Wall time per training step and replica"),
        f"{'network':<17} {'R':>2} n {'Tombola':<19} {'PyTorch at its best':<36} {'ratio':>6} limit",
    ]
    for name, network in _timed(results):
        for replicas, measured in _tombola(results, name).items():
            limit = _limit(results, name, int(replicas))
            best = _best_torch(results, name, int(replicas))
            torch, factor = ("not installed", "") if best is None else (f"{brief(best[1])} {best[0]}", ratio(best[1], measured))
            count = len(measured["repeats"])
            shown = f"{once(limit)} {limit / measured['median']:.0%}"
            lines.append(f"{network.title:<17} {replicas:>2} {count} {brief(measured):<19} {torch:<36} {factor:>6} {shown}")
    lines += [
        "Batch 60, Adam; ResNet-20: batch 128, momentum, weight decay, no augmentation. n: measurements,",
        "fewer and over fewer steps for many replicas. ratio: PyTorch / Tombola. limit: the step's matrix",
        "products alone, at rates measured at their shapes (convolutions: patches), and its share of Tombola.",
    ]
    return [*lines, *_against_torch(results), *_against_arithmetic(results)]


def _against_torch(results: dict[str, Any]) -> list[str]:
    if results["torch"] is None:
        return ["PyTorch is not installed: pip install -e '.[bench]', or --torch-python PATH of one that has it."]
    lines = [f"Targets at R = {CORES}, against PyTorch's optimiser as it comes, and beside its best one:"]
    for name, network in _timed(results):
        measured = _tombola(results, name)[str(CORES)]
        plain, best = (_best_torch(results, name, CORES, start)[1]["median"] / measured["median"] for start in ("default", ""))
        lines.append(
            f"Target: {network.title}, at least {network.target:g}x the plain loop: {plain:.2f}x, {met(plain >= network.target)}; "
            f"its best optimiser: {best:.2f}x"
        )
    return lines


def _against_arithmetic(results: dict[str, Any]) -> list[str]:
    """LeNet's products come from memory that both cores share: the target that says most about the loop around them."""
    measured = _tombola(results, "lenet")[str(CORES)]["median"]
    reached = _limit(results, "lenet", CORES) / measured
    return [f"Target: LeNet-300-100, R = {CORES}, at least {ARITHMETIC:.0%} of its limit: {reached:.0%}, {met(reached >= ARITHMETIC)}"]


def _timed(results: dict[str, Any]) -> list[tuple[str, Network]]:
    return [(name, NETWORKS[name]) for name in results["tombola"]]


def _tombola(results: dict[str, Any], name: str) -> dict[str, Any]:
    return results["tombola"][name]["seconds_per_step_and_replica"]


def _limit(results: dict[str, Any], name: str, replicas: int) -> float:
    return results["arithmetic"][name]["limit_seconds"]["median"] / min(replicas, results["cores"])


def _best_torch(results: dict[str, Any], name: str, replicas: int, start: str = "") -> tuple[str, dict[str, Any]] | None:
    """PyTorch's fastest way to train so many replicas, of those whose option begins so: a single one occupies one process."""
    if results["torch"] is None:
        return None
    ways = results["torch"][name]["seconds_per_step_and_replica"].items()
    able = {how: time for how, time in ways if how.split()[1].startswith(start) and (replicas > 1 or how.startswith("1x"))}
    return min(able.items(), key=lambda item: item[1]["median"])


def torch(results: dict[str, Any]) -> list[str]:
    if results["torch"] is None:
        return []
    lines = title("PyTorch, eager: by processes x threads, the optimiser's implementation, channels_last (nhwc)")
    for name, network in _timed(results):
        found = results["torch"][name]["seconds_per_step_and_replica"]
        layouts = list(dict.fromkeys(way.split()[0] for way in found))
        lines.append(f"{network.title:<17} {'':<12} {' '.join(f'{layout:<22}' for layout in layouts)}".rstrip())
        for option in dict.fromkeys(way.split(" ", 1)[1] for way in found):
            times = " ".join(f"{brief(found[f'{layout} {option}']):<22}" for layout in layouts)
            lines.append(f"{'':<17} {option:<12} {times}".rstrip())
    return lines


def scaling(results: dict[str, Any]) -> list[str]:
    lines = title(f"From one core to two: R = {CORES}, wall time per step and replica")
    for name in results["tombola_one_core"]:
        one = results["tombola_one_core"][name]["seconds_per_step_and_replica"][str(CORES)]
        two = _tombola(results, name)[str(CORES)]
        lines.append(f"{NETWORKS[name].title:<17} one {brief(one):<22} two {brief(two):<22} {_scaled(results, name):.2f}x")
    factors = [_scaled(results, name) for name in results["tombola_one_core"]]
    return [*lines, f"Target: at least {SCALING}x, of each: {min(factors):.2f}x at worst, {met(min(factors) >= SCALING)}"]


def _scaled(results: dict[str, Any], name: str) -> float:
    one, two = (results[part][name]["seconds_per_step_and_replica"][str(CORES)] for part in ("tombola_one_core", "tombola"))
    return one["median"] / two["median"]


def memory(results: dict[str, Any]) -> list[str]:
    """Peak memory by network and number of replicas."""
    lines = title("Peak memory of that process, data and all, MiB")
    for name, network in _timed(results):
        peaks = "  ".join(f"R = {replicas}: {peak:,.0f}" for replicas, peak in results["tombola"][name]["peak_mib"].items())
        lines.append(f"{network.title:<17} {peaks}")
    return lines
