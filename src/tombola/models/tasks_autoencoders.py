"""The named tasks of autoencoders and variational autoencoders."""

from typing import Any

from tombola.core.task import Data, Model, Recipe, Task
from tombola.models.tasks import named, tasks

_RATES = {"conv": 0.2, "dense": 0.2, "output": 0.2}
"""Kalibhat et al. 2021: 20 % of what is left, of all layers together."""


def _task(
    scale: str, data: str, model: str, objective: Any, learning_rate: float = 1e-3, images: int | None = None, **options: Any
) -> Task:
    """Adam, batches of 100: 20,000 iterations, 3,000 at `small` on so many images as are named."""
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"steps": "60it", "evaluate_every": "30it"},
        "small": {"steps": "3000it", "evaluate_every": "300it"},
    }
    recipe: dict[str, Any] = {
        "steps": "20000it",
        "batch": 100,
        "evaluate_every": "500it",
        "test_every": "2000it",
        **by_scale.get(scale, {}),
    }
    held: dict[str, Any] = {} if images is None or scale == "paper" else {"train": images, "validation": 1000}
    if images is not None and scale == "smoke":
        held = {"train": 300, "validation": 100, "test": 100}
    return Task(
        data=Data(name=data, fresh_test=data == "digits", **held),
        model=Model(name=model, options=options),
        recipe=Recipe(learning_rate=learning_rate, **recipe),
        objective=objective,
        rates=_RATES,
        scope="global",
    )


_AE: dict[str, Any] = {"model": "autoencoder", "objective": "reconstruction"}
_VAE: dict[str, Any] = {"model": "vae", "objective": "elbo"}
_PICTURES: dict[str, Any] = {"images": 5000, "widths": [128]}
_CODED: dict[str, Any] = {"images": 5000, "widths": [200, 200], "latents": 20}
named(_task, "digits-ae", "Autoencoder 64-32-64 on scikit-learn's 8x8 digits.", data="digits", **_AE, widths=[32])
named(
    _task,
    "digits-vae",
    "Variational autoencoder 64-64-8-64-64 on the same digits, Bernoulli likelihood.",
    data="digits",
    **_VAE,
    widths=[64, 64],
    latents=8,
)
named(
    _task,
    "mnist-ae",
    "Autoencoder 784-128-784 on MNIST: the 200,704 weights of the linear autoencoder of Kalibhat et al. 2021; 5,000 images at `small`.",
    data="mnist",
    **_AE,
    **_PICTURES,
)
named(
    _task,
    "mnist-vae",
    "Variational autoencoder 784-200-20-200-784 on MNIST, Bernoulli likelihood; 5,000 images at `small`.",
    data="mnist",
    **_VAE,
    **_CODED,
)
named(
    _task,
    "fashion-mnist-ae",
    "Autoencoder 784-128-784 on Fashion-MNIST; 5,000 images at `small`.",
    data="fashion-mnist",
    **_AE,
    **_PICTURES,
)
named(
    _task,
    "fashion-mnist-vae",
    "Variational autoencoder 784-200-20-200-784 on Fashion-MNIST, Bernoulli likelihood; 5,000 images at `small`.",
    data="fashion-mnist",
    **_VAE,
    **_CODED,
)


@tasks.register("conv-ae-cifar10-16")
def conv_ae_cifar10_16(scale: str) -> Task:
    """Convolutional autoencoder on CIFAR-10 at 16x16 pixels: 8 and 16 channels, a code of 64 units; 5,000 images at `small`."""
    found = _task(scale, "cifar10-16", "conv_autoencoder", "reconstruction", images=5000, widths=[8, 16, 64])
    return found if scale != "small" else found.but(recipe=found.recipe.but(steps="1500it", evaluate_every="150it"))
