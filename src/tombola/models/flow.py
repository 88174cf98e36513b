"""What of a network computes its outputs: the kernels on the way to them after which there is no other."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jax.extend.core import Jaxpr, Literal

_INLINED = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "remat2", "checkpoint")
_WITHOUT_PRODUCT = ("add", "add_any", "sub", "max", "min", "select_n", "concatenate")
"""Operations that bring a parameter to the examples as an offset of them, which is no layer."""


class _Value(NamedTuple):
    of_data: bool
    kernels: frozenset[str]
    """The kernels that what follows from the examples was last multiplied with; of all else, those that it follows from."""


class _Flow:
    def __init__(self) -> None:
        self.before: dict[str, frozenset[str]] = {}
        """Kernel -> those that its inputs follow from."""

    def through(self, jaxpr: Jaxpr, given: list[_Value]) -> list[_Value]:
        values: dict[Any, _Value] = dict(zip(jaxpr.invars, given, strict=True))
        nothing = _Value(False, frozenset())

        def read(one: Any) -> _Value:
            return nothing if isinstance(one, Literal) else values.get(one, nothing)

        for equation in jaxpr.eqns:
            operands = [read(one) for one in equation.invars]
            inner = _inner(equation)
            if inner is not None and len(inner.invars) == len(operands):
                found = self.through(inner, operands)
            else:
                found = [self._combined(equation.primitive.name, operands)] * len(equation.outvars)
            values.update(zip(equation.outvars, found, strict=True))
        return [read(one) for one in jaxpr.outvars]

    def _combined(self, name: str, operands: list[_Value]) -> _Value:
        of_data = frozenset[str]().union(*(one.kernels for one in operands if one.of_data))
        kernels = frozenset[str]().union(*(one.kernels for one in operands if not one.of_data))
        if not any(one.of_data for one in operands):
            return _Value(False, kernels)
        if not kernels or (of_data and name in _WITHOUT_PRODUCT):
            return _Value(True, of_data)
        earlier = of_data.union(*(self.before.get(kernel, ()) for kernel in of_data))
        for kernel in kernels:
            self.before[kernel] = self.before.get(kernel, frozenset()) | earlier
        return _Value(True, kernels)


def last_kernels(jaxpr: Jaxpr, given: Mapping[int, str], data: int, output: int) -> tuple[frozenset[str], frozenset[str]]:
    """The kernels that compute an output: examples were multiplied with them, and with no other thereafter; and all with others thereafter.

    A kernel that is used twice, such as a table of embeddings that computes the logits too, may be among both.

    Args:
        jaxpr: of a network.
        given: place of a kernel among its arguments -> path.
        data: place of the examples among them.
        output: place of what is asked for among the results.
    """
    arguments = [_Value(i == data, frozenset({given[i]} if i in given else ())) for i in range(len(jaxpr.invars))]
    flow = _Flow()
    last = flow.through(jaxpr, arguments)[output].kernels
    # Where examples also pass a layer by, as in a residual network, those it follows from are among them.
    before = {one: flow.before.get(one, frozenset()) for one in last}
    found = frozenset(one for one in last if not any(one in before[other] and other not in before[one] for other in last))
    return found, frozenset[str]().union(*flow.before.values())


def _inner(equation: Any) -> Jaxpr | None:
    """What a call computes; None for what is no call."""
    if equation.primitive.name not in _INLINED:
        return None
    found = equation.params.get("jaxpr", equation.params.get("call_jaxpr", equation.params.get("fun_jaxpr")))
    return getattr(found, "jaxpr", found)
