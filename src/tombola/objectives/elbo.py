"""The evidence lower bound: what a variational autoencoder learns."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tombola.core.objective import Measure, register
from tombola.objectives.likelihood import Likelihood, bernoulli_nats, check_range, entropy, flat, mean_picture
from tombola.objectives.sparse_code import SparseCode, plain


@register("elbo")
class Elbo(SparseCode):
    """The negative of the bound on log p(x), of a picture x, in nats: -log p(x|z) + beta KL(q(z|x) || N(0, 1)).

    Both terms are sums: over the values of a picture, and over latents. To take the mean of either would change beta by their number.
    q(z|x) is normal with the mean `code` and the log variance `log_variance` that the network says; -log p(x|z) is that of one z.
    The headline `nelbo` has beta = 1, whatever training has, so that it is a bound; `nll` and `kl` are its two terms, `mse` as of
    `reconstruction`.
    """

    targets: ClassVar[Literal["classes", "values", "inputs"]] = "inputs"
    measured: ClassVar[Mapping[str, Measure]] = {
        "nelbo": Measure("negative ELBO", "nats"),
        "nll": Measure("reconstruction", "nats"),
        "kl": Measure("KL", "nats"),
        "mse": Measure("mean squared error"),
    }

    likelihood: Likelihood = "bernoulli"
    """The likelihood of a value: `bernoulli`, with the sigmoid of its output, or `gaussian`, about its output with deviation `sigma`."""
    beta: Annotated[float, Field(ge=0)] = 1.0
    """Factor on the KL term in training and on validation data (Higgins et al. 2017)."""
    sigma: Annotated[float, Field(gt=0)] = 1.0
    """The standard deviation of the Gaussian likelihood, in the unit of the inputs."""

    @model_validator(mode="after")
    def _sigma_is_of_gaussians(self) -> Self:
        if self.sigma != 1 and self.likelihood != "gaussian":
            raise ValueError(f"sigma = {self.sigma:g} is of the Gaussian likelihood; write likelihood = 'gaussian', or leave it at 1")
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """The posterior, and what terms of sparsity are about."""
        return tuple(dict.fromkeys(("code", "log_variance", *super().reads)))

    def loss(self, outputs: Any, targets: Any) -> Any:
        """(B,) -log p(x|z) + beta KL, in nats."""
        return self.nll(outputs.outputs, targets) + self.beta * latent_kl(outputs.inside).sum(-1)

    def training_loss(self, outputs: Any, targets: Any, smoothing: float) -> Any:
        """The loss, and the terms that make it sparse."""
        return self.loss(outputs, targets) + self.penalty(outputs)

    def nll(self, outputs: Any, targets: Any) -> Any:
        """(B,) -log p(x|z), summed over the values of a picture."""
        if self.likelihood == "bernoulli":
            return bernoulli_nats(outputs, targets)
        squares = flat((outputs - targets) ** 2)
        return squares.sum(-1) / (2 * self.sigma**2) + squares.shape[-1] * self._constant

    @property
    def _constant(self) -> float:
        return 0.5 * math.log(2 * math.pi * self.sigma**2)

    def measures(self, outputs: Any, targets: Any) -> Mapping[str, Any]:
        """The measures `nelbo`, `nll`, `kl` and `mse`."""
        nll, kl = self.nll(outputs.outputs, targets), latent_kl(outputs.inside).sum(-1)
        mse = flat((self.prediction(plain(outputs)) - targets) ** 2).mean(-1)
        return {"nelbo": nll + kl, "nll": nll, "kl": kl, "mse": mse}

    def prediction(self, outputs: Any) -> Any:
        """(B, ...) the picture that the decoder expects."""
        return mean_picture(self.likelihood, outputs)

    def disagreement(self, first: Any, second: Any) -> float:
        """Nats between two networks' expected pictures: KL from the first to the second, summed over values."""
        one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
        if self.likelihood == "gaussian":
            return float(flat((one - other) ** 2).sum(-1).mean() / (2 * self.sigma**2))
        one, other = (np.clip(each, 1e-12, 1 - 1e-12) for each in (one, other))
        return float(flat(one * np.log(one / other) + (1 - one) * np.log((1 - one) / (1 - other))).sum(-1).mean())

    def fitted(self, dataset: Any) -> Self:
        """Raises for a Bernoulli likelihood of values outside [0, 1]."""
        check_range(self.name, self.likelihood, dataset)
        return self

    def chance(self, targets: Any) -> float:
        """Nats of the mean picture, with a KL of 0: what a collapsed posterior can have."""
        values = flat(np.asarray(targets, np.float64))
        if self.likelihood == "bernoulli":
            return entropy(values.mean(0))
        return float(values.var(0).sum() / (2 * self.sigma**2) + values.shape[-1] * self._constant)


def latent_kl(inside: Mapping[str, Any]) -> Any:
    """(B, latents) KL(N(m, s^2) || N(0, 1)) of each latent, in nats: (m^2 + s^2 - log s^2 - 1) / 2."""
    import jax.numpy as jnp

    mean, log_variance = inside["code"], inside["log_variance"]
    return 0.5 * (mean**2 + jnp.exp(log_variance) - log_variance - 1)
