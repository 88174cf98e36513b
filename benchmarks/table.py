"""The benchmark's results as text, at most 100 columns wide."""

from statistics import mean
from typing import Any

from networks import NETWORKS
from setting import DISTURBED
from table_training import memory, scaling, speed, torch
from words import brief, met, seconds, share, title

SHARE = 0.10
"""Of a run: the most that evaluation, store and progress may take together."""
AGAIN, HELP = 2.0, 0.3
"""Seconds: the most that a finished study, run again, and ``tombola --help`` may take."""
LEAK = 0.25
"""Of a copy of the weights kept a level: the most that memory may grow by."""


def table(results: dict[str, Any]) -> str:
    sections = (_heading, speed, torch, scaling, memory, _levels, _study, _beside, _paths, _start)
    return "\n".join(line for section in sections for line in section(results))


def _heading(results: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return [
        f"Tombola benchmark, {results['date']}{' (SMOKE: the numbers mean nothing)' if results['smoke'] else ''}",
        f"{results['device']}; {results['cores']} cores used",
        versions,
        *_disturbed(results["disturbed"]),
        f"Each number is a median, with its range. All of it took {results['seconds']:.0f} s.",
    ]


def _disturbed(shares: dict[str, float]) -> list[str]:
    most = sorted((share, what) for what, share in shares.items() if share > DISTURBED)[::-1]
    quiet = [f"Other work had at most {max(shares.values()):.0%} of the cores."] if shares else []
    return [f"DISTURBED: other work had {share:.0%} of the cores during {what}: not to be believed" for share, what in most] or quiet


def _levels(results: dict[str, Any]) -> list[str]:
    resident, in_use, copy = (results["memory"][name] for name in ("resident_mib", "in_use_mib", "weights_mib"))
    third = len(in_use) // 3
    growth = mean(in_use[-third:]) - mean(in_use[-2 * third : -third])
    leak = third * copy
    return [
        *title(f"Memory after each of {len(in_use) - 1} levels of pruning, two replicas, MiB"),
        f"in use: dense {in_use[0]:.1f}, first level {in_use[1]:.1f}, last {in_use[-1]:.1f}; resident, with what the allocator keeps:",
        f"dense {resident[0]:.0f}, first level {resident[1]:.0f}, last {resident[-1]:.0f}",
        f"Target: flat. In use, from the middle third to the last {growth:+.1f}; a copy of the weights kept at each",
        f"level would make it {leak:.1f}; under {LEAK:.0%} of that: {met(growth < LEAK * leak)}",
    ]


def _study(results: dict[str, Any]) -> list[str]:
    study = results["study"]
    steps = study["replica_steps"]
    lines = [
        *title(f"frankle2019.sparsity on mnist1d-mlp, {steps:,} replica-steps, nothing stored before"),
        f"first in its process {study['cold']['wall']:.2f} s, of which compile and first use {study['compile_share_of_cold']:.0%};"
        f" then {seconds(study['wall_seconds'])}",
        f"without this benchmark's clock {seconds(study['wall_seconds_not_instrumented'])}; peak memory {study['peak_mib']:.0f} MiB",
    ]
    for part, time in study["seconds"].items():
        lines.append(f"  {part:<18} {time['median']:8.3f} s  {share(study['share'][part])}")
    a_step = study["seconds"]["training"]["median"] / steps
    lines.append(f"Training there: {1e6 * a_step:.0f} us of wall time per step and replica.")
    together = study["overhead_share"]
    good = met(together["median"] <= SHARE)
    return [*lines, f"Target: evaluation, store and progress together at most {SHARE:.0%}: {share(together)}, {good}"]


def _beside(results: dict[str, Any]) -> list[str]:
    lines = (
        f"Target: {name}, at most {row['most']:.2f}x: {row['ratio']:.2f}x, {met(row['ratio'] <= row['most'])}"
        for name, row in results["beside"].items()
    )
    return [*title("Least processor seconds of one replica on one core, evaluations and start included: ratios"), *lines]


def _paths(results: dict[str, Any]) -> list[str]:
    paths = results["paths"]
    return [
        *title("frankle2020.instability on mnist1d-mlp: 3 children of W_k, 30 points a path, training and test set"),
        f"training {seconds(paths['training'])}, paths {seconds(paths['paths'])}, {brief(paths['per_network'])} a network",
        f"Share of the paths: {share(paths['share'])}",
    ]


def _start(results: dict[str, Any]) -> list[str]:
    start, study = results["start"], results["start"]["finished_study"]
    again, shown = study["again"], start["help"]
    return [
        *title("From the start of a process"),
        f"{NETWORKS['mlp'].title}, end of the first training step: {seconds(start['first_step_compiled'])}",
        f"  with nothing compiled before: {seconds(start['first_step_nothing_compiled'])}",
        f"Target: finished study run again ({study['runs']} runs), under {AGAIN:g} s: {seconds(again)}, {met(again['median'] < AGAIN)}",
        f"Target: tombola --help, under {HELP:g} s: {seconds(shown)}, {met(shown['median'] < HELP)}",
    ]
