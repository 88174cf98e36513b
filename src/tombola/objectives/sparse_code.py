"""Terms that make an autoencoder sparse by its loss: on the activity of its code, on its gates, on its weights."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from tombola.core.objective import WEIGHTS, Objective, Seen

Strength = Annotated[float, Field(ge=0)]
LEAST = 1e-7
"""Activities are at least so far from 0 and 1 in the logarithms of the KL term."""


class SparseCode(Objective):
    """An objective with terms that training alone adds to its loss; validation and tests are without them.

    Each is a sum over units, or weights, and is added to the loss of an example as summed over the values of its target. A loss that is
    their mean is that sum divided by their number, and so is what is added to it.
    """

    activity_kl: Strength = 0.0
    """beta of beta sum_j KL(rho || m_j), m_j the mean of code unit j over the batch; KL between Bernoulli distributions, in nats. Codes
    have to lie in [0, 1], as those of sigmoids do: a mean outside makes the loss NaN (Ng 2011, where 3 stands beside half the squares,
    so that it is 6 here)."""
    activity_target: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """rho of that term."""
    activity_l1: Strength = 0.0
    """lambda of lambda sum_j |a_j|, a the code of an example."""
    gate_l0: Strength = 0.0
    """lambda of lambda sum_j p_j, p_j the probability that the gate of unit j is open: about the number of units in use."""
    weight_l1: Strength = 0.0
    """lambda of lambda sum |w|, over all kernels."""

    @model_validator(mode="after")
    def _target_is_of_kl(self) -> Self:
        if self.activity_target != SparseCode.model_fields["activity_target"].default and not self.activity_kl:
            raise ValueError(f"activity_target = {self.activity_target:g} is of the term activity_kl, which is 0; give that too, such as 6")
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """What its terms are about."""
        code = ("code",) if self.activity_kl or self.activity_l1 else ()
        return (*code, *(("gates",) if self.gate_l0 else ()), *((WEIGHTS,) if self.weight_l1 else ()))

    def penalty(self, given: Any) -> Any:
        """(B,) or (): the terms together, as they stand beside a loss that is summed over the values of a target."""
        if not isinstance(given, Seen):
            return 0.0
        import jax.numpy as jnp

        total: Any = 0.0
        if self.activity_kl:
            total += self.activity_kl * bernoulli_kl(self.activity_target, given.inside["code"].mean(0)).sum()
        if self.activity_l1:
            total += self.activity_l1 * jnp.abs(given.inside["code"]).sum(-1)
        if self.gate_l0:
            total += self.gate_l0 * given.inside["gates"].sum()
        if self.weight_l1:
            total += self.weight_l1 * sum(jnp.abs(leaf).sum() for leaf in given.weights.values())
        return total


def bernoulli_kl(rho: float, mean: Any) -> Any:
    """KL(rho || mean) in nats, by entry; NaN where a mean is no probability."""
    import jax.numpy as jnp

    inside = jnp.clip(mean, LEAST, 1 - LEAST)
    found = rho * jnp.log(rho / inside) + (1 - rho) * jnp.log((1 - rho) / (1 - inside))
    return jnp.where((mean >= 0) & (mean <= 1), found, jnp.nan)


def plain(given: Any) -> Any:
    """The network's outputs, of outputs or a `Seen`."""
    return given.outputs if isinstance(given, Seen) else given
