"""Steps, keys, path-named trees, masks and specs: what everything else is said in."""

from tombola.core import masks as masks
