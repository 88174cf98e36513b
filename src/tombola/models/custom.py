"""Networks of the user's own: a class handed over in Python, ``path.py:Class``, or ``package.module:Class``; of NNX or of PyTorch."""

import functools
import inspect
from typing import Any

from tombola.core.errors import TombolaError
from tombola.core.loading import load_part
from tombola.core.parts import models, torch_rules
from tombola.core.task import Model
from tombola.models.pytorch.factory import described, of_torch


def from_class(network: Any, *, initializer: str = "", **options: Any) -> Model:
    """The `Model` of a class ``(shape, classes, *, rngs, **options) -> nnx.Module``, and its options.

    The class may take ``data``, a `DataInfo`, in the place of ``shape, classes``. A module says in an attribute `feeds` which layers
    may be permuted or made smaller, in `blocks` what its blocks are, and in ``kinds = {"head": "output"}`` of what kind a layer is.

    A class of PyTorch's takes its own options; so does a function ``(**options) -> torch.nn.Module``. A module with its weights, such as
    a pretrained one, stands for itself: each replicate begins at a copy of them.

    Its weights are drawn as the module itself draws them (`initializer` ``own``), unless another initialiser is named. It is known by
    its code, wherever that stands; another process finds it again where the same code is loaded or handed over.

    Args:
        network: the class, or a function; a `functools.partial` of it, whose arguments are options; ``path.py:Class``,
            ``package.module:Class``, or the name of a registered network, which the initialiser of `Model` draws by default.
        options: plain values, dtypes, arrays, and functions or classes, which are told by their code too.

    Raises:
        TombolaError: if it is no class or function, or cannot be told from others.
    """
    if isinstance(network, str):
        if ":" not in network:
            found = Model(name=network, options=options)
            return found.but(initializer=initializer) if initializer else found
        network = load_part(network)
    while isinstance(network, functools.partial):
        if network.args:
            raise TombolaError("a partial network with positional arguments has no names for them; give options by keyword: width=8")
        network, options = network.func, {**network.keywords, **options}
    if of_torch(network):
        options = {**({"torch_rules": own} if (own := torch_rules.users()) else {}), **options}
        return Model(name=models.described(described(network)), options=options, initializer=initializer or "own")
    if not callable(network) or (hasattr(type(network), "_pytree__is_pytree") and not inspect.isclass(network)):
        raise TombolaError(f"a network is given by its class, not by {_said(network)}: tb.model({type(network).__name__}, ...)")
    return Model(name=models.described(network), options=options, initializer=initializer or "own")


def _said(given: Any) -> str:
    return "an instance, whose weights would be the same for every seed" if callable(given) else f"{given!r}"
