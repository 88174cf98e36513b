"""The benchmark's results as text, at most 100 columns wide."""

from typing import Any

from setting import CORES, NETWORKS

SHARE = 0.15
"""Of a run: the most that evaluation, store and progress may take together."""
WIDTH = 100


def table(results: dict[str, Any]) -> str:
    sections = [
        _heading(results),
        *_speed(results),
        *_torch(results),
        *_scaling(results),
        *_study(results),
        *_paths(results),
        *_start(results),
    ]
    return "\n".join(sections)


def _heading(results: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    repeats = len(results["start"]["help"]["repeats"])
    lines = [
        f"Tombola benchmark, {results['date']}{' (SMOKE: the numbers mean nothing)' if results['smoke'] else ''}",
        f"{results['device']}; {results['cores']} cores used",
        versions,
        f"Each number is a median of {repeats}, with its range. All of it took {results['seconds']:.0f} s.",
    ]
    return "\n".join(lines)


# -- training ----------------------------------------------------------------------------------------------------------


def _speed(results: dict[str, Any]) -> list[str]:
    lines = [
        *_title("Wall time per training step and replica, us (Adam, batch 60)"),
        f"{'network':<18} {'R':>2}  {'Tombola':<20} {'PyTorch at its best':<36} {'ratio':>6}  {'arithmetic':>10}",
    ]
    for name, network in NETWORKS.items():
        for replicas, measured in results["tombola"]["seconds_per_step_and_replica"][name].items():
            limit = results["arithmetic"][name]["limit_seconds"]["median"] / min(int(replicas), results["cores"])
            best = _best_torch(results, name, int(replicas))
            torch, ratio = ("not installed", "") if best is None else (f"{_micro(best[1])}  {best[0]}", _ratio(best[1], measured))
            arithmetic = f"{1e6 * limit:.0f} {limit / measured['median']:4.0%}"
            lines.append(f"{network.title:<18} {replicas:>2}  {_micro(measured):<20} {torch:<36} {ratio:>6}  {arithmetic:>10}")
    lines += ["ratio: PyTorch / Tombola; arithmetic: the step's matrix products alone, and their share of Tombola."]
    if results["torch"] is None:
        return [*lines, "PyTorch is not installed: pip install -e '.[bench]', or --torch-python PATH of one that has it."]
    for name, network in NETWORKS.items():
        measured = results["tombola"]["seconds_per_step_and_replica"][name][str(CORES)]
        plain, best = (_best_torch(results, name, CORES, option)[1]["median"] / measured["median"] for option in ("default", ""))
        met = _met(plain >= network.target)
        lines.append(
            f"Target: {network.title}, R = {CORES}, at least {network.target:g}x the plain loop (Adam as it comes): "
            f"{plain:.2f}x, {met}; with its best Adam {best:.2f}x"
        )
    return lines


def _best_torch(results: dict[str, Any], name: str, replicas: int, option: str = "") -> tuple[str, dict[str, Any]] | None:
    """PyTorch's fastest way to train so many replicas, of those whose name ends in `option`: a single one occupies one process."""
    if results["torch"] is None:
        return None
    able = {how: time for how, time in results["torch"][name].items() if how.endswith(option) and (replicas > 1 or how.startswith("1x"))}
    return min(able.items(), key=lambda item: item[1]["median"])


def _torch(results: dict[str, Any]) -> list[str]:
    if results["torch"] is None:
        return []
    ways = list(next(iter(results["torch"].values())))
    layouts, options = dict.fromkeys(way.split()[0] for way in ways), dict.fromkeys(way.split()[1] for way in ways)
    lines = [
        *_title("PyTorch, eager: the same, by processes x threads and Adam's implementation"),
        f"{'network':<18} {'':<4} " + " ".join(f"{option:<24}" for option in options),
    ]
    for name, network in NETWORKS.items():
        for layout in layouts:
            times = " ".join(f"{_micro(results['torch'][name][f'{layout} {option}']):<24}" for option in options)
            lines.append(f"{network.title:<18} {layout:<4} {times}")
    return lines


def _scaling(results: dict[str, Any]) -> list[str]:
    lines = [*_title("From one core to two: R = 2, us per step and replica")]
    for name, network in NETWORKS.items():
        one = results["tombola_one_core"]["seconds_per_step_and_replica"][name]["2"]
        two = results["tombola"]["seconds_per_step_and_replica"][name]["2"]
        lines.append(f"{network.title:<18} one {_micro(one):<22} two {_micro(two):<22} {_ratio(one, two)}")
    return lines


# -- a study -----------------------------------------------------------------------------------------------------------


def _study(results: dict[str, Any]) -> list[str]:
    study = results["study"]
    steps = study["replica_steps"]
    lines = [
        *_title(f"frankle2019.sparsity on mnist1d-mlp, {steps:,} replica-steps, nothing stored before"),
        f"first in its process {study['cold']['wall']:.2f} s, of which compile and first use {study['compile_share_of_cold']:.0%};"
        f" then {_seconds(study['wall_seconds'])}",
        f"without this benchmark's clock {_seconds(study['wall_seconds_not_instrumented'])}; peak memory {study['peak_mib']:.0f} MiB",
    ]
    for part, seconds in study["seconds"].items():
        lines.append(f"  {part:<18} {seconds['median']:8.3f} s  {_share(study['share'][part])}")
    a_step = study["seconds"]["training"]["median"] / steps
    lines.append(f"Training there: {1e6 * a_step:.0f} us of wall time per step and replica.")
    together = study["overhead_share"]
    met = _met(together["median"] < SHARE)
    return [*lines, f"Target: evaluation, store and progress together under {SHARE:.0%}: {_share(together)}, {met}"]


def _paths(results: dict[str, Any]) -> list[str]:
    paths = results["paths"]
    return [
        *_title("frankle2020.instability on mnist1d-mlp: 3 children of W_k, 30 points a path, training and test set"),
        f"training {_seconds(paths['training'])}, paths {_seconds(paths['paths'])}, {_micro(paths['per_network'])} us a network",
        f"Share of the paths: {_share(paths['share'])}",
    ]


def _start(results: dict[str, Any]) -> list[str]:
    start = results["start"]
    return [
        *_title("From the start of a process"),
        f"{NETWORKS['mlp'].title}, end of the first training step: {_seconds(start['first_step_compiled'])}",
        f"  with nothing compiled before: {_seconds(start['first_step_nothing_compiled'])}",
        f"tombola --help: {_seconds(start['help'])}",
    ]


# -- words -------------------------------------------------------------------------------------------------------------


def _title(text: str) -> list[str]:
    return ["", text, "-" * WIDTH]


def _micro(time: dict[str, Any]) -> str:
    return f"{1e6 * time['median']:.0f} ({1e6 * time['min']:.0f}-{1e6 * time['max']:.0f})"


def _seconds(time: dict[str, Any]) -> str:
    return f"{time['median']:.2f} s ({time['min']:.2f}-{time['max']:.2f})"


def _share(share: dict[str, Any]) -> str:
    return f"{share['median']:.1%} ({share['min']:.1%}-{share['max']:.1%})"


def _ratio(slow: dict[str, Any], fast: dict[str, Any]) -> str:
    return f"{slow['median'] / fast['median']:.2f}x"


def _met(good: bool) -> str:
    return "met" if good else "NOT MET"
