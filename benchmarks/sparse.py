"""Does a sparse format beat dense on a CPU? LeNet-300-100's two large layers, batch 60, one thread, at falling density.

    python benchmarks/sparse.py [--json FILE.json] [--torch-python PATH] [--ticket] [--smoke]

Timed is what a layer inside a network does in a step: forward product, gradient of the kept weights, gradient of its
inputs; the fastest of five counts. Masks are random; with --ticket (which trains on MNIST for a minute) also those of a
winning ticket.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from setting import confine, show, summary
from sparse_ways import SIZES, Masks, compacted, jax_ways, layer_of, packed_way, scipy_way

from tombola.kernels.device import prepare

DENSITIES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)


def main() -> None:
    given = arguments()
    confine(1)
    prepare()
    densities, repeats = ((0.5, 0.01), 1) if given.smoke else (DENSITIES, 5)
    found = {"random": {str(density): measured(random_masks(density), repeats, given.torch_python) for density in densities}}
    if given.ticket:
        found["ticket"] = {str(density): measured(masks, repeats, given.torch_python) for density, masks in ticket_masks(densities).items()}
    print("\n\n".join(table(name, by_density, given.smoke) for name, by_density in found.items()))
    if given.json:
        given.json.write_text(json.dumps({"smoke": given.smoke, "masks": found}, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE.json", type=Path, help="also write every number as JSON")
    parser.add_argument("--torch-python", metavar="PATH", help="a Python that has PyTorch: times its sparse format too")
    parser.add_argument("--ticket", action="store_true", help="also the masks of a winning ticket on MNIST")
    parser.add_argument("--smoke", action="store_true", help="two densities, once: shows that it runs; its numbers mean nothing")
    return parser.parse_args()


def measured(masks: Masks, repeats: int, torch_python: str | None) -> dict[str, Any]:
    """What is left of the network without its dead units, and way -> seconds of both layers together."""
    show(f"density {density_of(masks):.2%}")
    smaller = compacted(masks)
    layers = [layer_of(mask) for mask in masks[:2]]
    ways: dict[str, list[Callable[[], float]]] = {
        "dense, masked": [jax_ways(layer)["dense"] for layer in layers],
        "dense, no dead units": [jax_ways(layer_of(mask))["dense"] for mask in smaller[:2]],
        "JAX BCOO": [jax_ways(layer)["BCOO"] for layer in layers],
        "JAX BCSR": [jax_ways(layer)["BCSR"] for layer in layers],
        "SciPy CSR": [scipy_way(layer) for layer in layers],
        "packed": [packed_way(layer) for layer in layers],
    }
    times: dict[str, list[list[float]]] = {way: [] for way in ways}
    for _ in range(repeats):  # in turn: what else the machine does then slows them alike
        for way, both in ways.items():
            times[way].append([one() for one in both])
    if torch_python:
        times["torch CSR"] = torch_times(torch_python, masks, repeats)
    return {
        "kept": [float(mask.mean()) for mask in masks],
        "left": [list(mask.shape) for mask in smaller],
        "seconds": {way: summary([sum(both) for both in several]) for way, several in times.items()},
        "by_layer": {way: [summary(list(one)) for one in zip(*several, strict=True)] for way, several in times.items()},
    }


def density_of(masks: Masks) -> float:
    return sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks)


def torch_times(python: str, masks: Masks, repeats: int) -> list[list[float]]:
    """Seconds of each layer, once a repeat, in a process of its own."""
    places = [[mask.shape, *(axis.tolist() for axis in np.nonzero(mask))] for mask in masks[:2]]
    script = Path(__file__).parent / "sparse_torch.py"
    done = subprocess.run([python, str(script), str(repeats)], input=json.dumps(places), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script.name} failed:\n{done.stderr}")
    return json.loads(done.stdout)


# -- masks -------------------------------------------------------------------------------------------------------------


def random_masks(density: float) -> Masks:
    """Masks of exact counts, uniformly drawn. The output layer is pruned at half the rate, as the papers do: .9 a round, not .8."""
    random = np.random.default_rng(0)
    found = []
    for inputs, outputs in pairwise(SIZES):
        share = density if outputs != SIZES[-1] else density ** (np.log(0.9) / np.log(0.8))
        mask = np.zeros(inputs * outputs, bool)
        mask[: round(share * mask.size)] = True
        found.append(random.permutation(mask).reshape(inputs, outputs))
    return found


def ticket_masks(densities: tuple[float, ...]) -> dict[float, Masks]:
    """Density of the network -> the masks of iterative magnitude pruning, a fifth a round, that come closest to those asked."""
    import tombola as tb

    show("iterative pruning of LeNet-300-100 on MNIST")
    levels = max(0, round(np.log(min(densities)) / np.log(0.8)))
    task = tb.task("lenet-mnist", steps="600it", evaluate_every="600it", test_every="600it")
    trajectories = tb.imp(task, levels, replicates=1)
    found = {}
    for density in densities:
        level = round(np.log(density) / np.log(0.8))
        masks = [leaf[0] for leaf in trajectories[level].mask.values()]
        found[round(density_of(masks), 4)] = masks
    return found


# -- table -------------------------------------------------------------------------------------------------------------


def table(name: str, by_density: dict[str, Any], smoke: bool) -> str:
    ways = list(next(iter(by_density.values()))["seconds"])
    lines = [
        f"LeNet-300-100, {name} masks, us a step of both layers{' (SMOKE: the numbers mean nothing)' if smoke else ''}",
        f"{'density':>8} {'left':>12} " + " ".join(f"{way:>13.13}" for way in ways),
    ]
    for density, one in by_density.items():
        left = "-".join(str(size[0]) for size in one["left"])
        times = " ".join(f"{1e6 * one['seconds'][way]['min']:>13.0f}" for way in ways)
        lines.append(f"{float(density):>8.1%} {left:>12} {times}")
    for other in ways[:2]:
        lines += [f"{way} beats {other}: {wins(by_density, way, other)}" for way in ways if way not in ways[: ways.index(other) + 1]]
    return "\n".join(lines)


def wins(by_density: dict[str, Any], way: str, other: str) -> str:
    """The densities at which a way is the faster one."""
    faster = [float(density) for density, one in by_density.items() if one["seconds"][way]["min"] < one["seconds"][other]["min"]]
    return "at " + ", ".join(f"{density:.1%}" for density in faster) if faster else "nowhere"


if __name__ == "__main__":
    sys.exit(main())
