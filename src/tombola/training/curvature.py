"""Detectors that look at the curvature of the loss, and at the kernel of the network's tangents, on a fixed probe."""

from collections.abc import Callable

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.parts import detectors
from tombola.core.step import Timeline
from tombola.training.detectors import Detector, Stop, cosine_of, norm


def lanczos(product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values, the largest first, and their vectors (n, m) of a symmetric matrix: m = `steps`, or fewer where the space ends.

    Each new vector is made orthogonal to all before it, twice: without that, large eigenvalues come again and again, and small ones
    are wrong.

    Args:
        product: v (n,) -> A v.
        start: (n,), any but 0.

    Source: Lanczos 1950, with full reorthogonalisation; Golub & Van Loan, section 10.3.
    """
    basis, diagonal, beside = [start / norm(start)], list[float](), list[float]()
    for _ in range(min(steps, len(start))):
        image = product(basis[-1])
        known = np.stack(basis)
        within = np.einsum("ij,j->i", known, image)
        diagonal.append(float(within[-1]))
        rest = image - np.einsum("ij,i->j", known, within)
        rest -= np.einsum("ij,i->j", known, np.einsum("ij,j->i", known, rest))
        beside.append(norm(rest))
        if beside[-1] <= 1e-10 * norm(image) or len(diagonal) == steps:
            break
        basis.append(rest / beside[-1])
    inner = beside[: len(diagonal) - 1]
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(inner, 1) + np.diag(inner, -1))
    return values[::-1], np.einsum("mn,mk->nk", np.stack(basis[: len(diagonal)]), vectors[:, ::-1])


def spectrum(stop: Stop, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """`lanczos` of the Hessian of the probe's loss, by the weights that train and are kept; it starts from the gradient."""

    def product(vector: np.ndarray) -> np.ndarray:
        parts = np.split(vector, np.cumsum([stop.weights[path].size for path in stop.trained])[:-1])
        shaped = zip(stop.trained, parts, strict=True)
        tree = {path: part.reshape(stop.weights[path].shape).astype(np.float32) for path, part in shaped}
        return stop.flat(stop.probe.product(stop.weights, tree))

    if iterations not in stop.memo:
        gradient = stop.flat(stop.probe.gradient(stop.weights))
        stop.memo[iterations] = lanczos(product, gradient if gradient.any() else np.ones_like(gradient), iterations)
    return stop.memo[iterations]


def _count(name: str, iterations: int) -> int:
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise TombolaError(f"{name}: iterations = {iterations!r}; write a whole number of at least 1")
    return iterations


@detectors.register
def sharpness(timeline: Timeline, *, iterations: int = 20) -> Detector:
    """The largest eigenvalue of the Hessian of the training loss on the probe.

    Args:
        iterations: of Lanczos, each a product with the Hessian.

    Source: Cohen et al. 2021.
    """
    count = _count("sharpness", iterations)
    return Detector(lambda stop: float(spectrum(stop, count)[0][0]), level=8.0, falls=False)


@detectors.register
def edge(timeline: Timeline, *, iterations: int = 20) -> Detector:
    """Sharpness over 2 (1 + beta) / rate, the largest at which full-batch descent with momentum beta is stable: 1 is the edge.

    The rate is that of the next iteration. beta is 0 for `sgd`; for optimisers that scale each weight's step, such as `adam`, the
    ratio is no edge of stability.

    Args:
        iterations: of Lanczos.

    Source: Cohen et al. 2021, section 2 (heavy ball).
    """
    count = _count("edge", iterations)

    def signal(stop: Stop) -> float:
        beta = stop.recipe.momentum if stop.recipe.optimizer in ("momentum", "nesterov") else 0.0
        return float(spectrum(stop, count)[0][0]) * stop.rate / (2 * (1 + beta))

    return Detector(signal, level=0.5, falls=False)


@detectors.register
def gradient_share(timeline: Timeline, *, vectors: int = 10, iterations: int = 20) -> Detector:
    """Share of the squared norm of the probe's gradient in the space of the Hessian's top eigenvectors, in [0, 1].

    Args:
        vectors: how many.
        iterations: of Lanczos; more than `vectors`.

    Source: Gur-Ari et al. 2018, section 2.
    """
    count = _count("gradient_share", iterations)
    if isinstance(vectors, bool) or not isinstance(vectors, int) or not 0 < vectors < count:
        raise TombolaError(f"gradient_share: vectors = {vectors!r}; write a whole number of at least 1, and below iterations = {count}")

    def signal(stop: Stop) -> float:
        gradient, (_, found) = stop.flat(stop.probe.gradient(stop.weights)), spectrum(stop, count)
        shares = np.einsum("n,nk->k", gradient, found[:, :vectors]) / (norm(gradient) or np.nan)
        return float(np.sum(shares**2))

    return Detector(signal, level=0.5, falls=False)


@detectors.register
def kernel(timeline: Timeline) -> Detector:
    """1 - cosine of the tangent kernels of 64 examples here and at the stop before.

    Source: Fort et al. 2020, section 3; of the sum of outputs under fixed random signs (`Probe.tangent_kernel`).
    """

    def signal(stop: Stop) -> float:
        here, before = (stop.probe.tangent_kernel(weights).ravel() for weights in (stop.weights, stop.before))
        return 1 - cosine_of(here, before)

    return Detector(signal, level=0.01, falls=False)
