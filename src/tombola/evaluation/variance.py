"""What of a table's variance comes from its rows, its columns, from their belonging together, and from noise."""

from itertools import combinations
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Mean squares of a table, in the square of its values' unit."""

    rows: float
    columns: float
    fit: float
    """The mean square of the interaction: that a row is met by the column to which it belongs."""
    noise: float
    """Variance of repeats of one cell."""


def split(values: np.ndarray) -> Split:
    """Mean squares of rows, columns and their interaction in a table (n, n, repeats) whose diagonal is special, less those of noise.

    Of each two of the n there is a table of 2 rows and 2 columns, with the means of cells a, b / c, d. Its mean squares, of one degree of
    freedom each, are (a + b - c - d)^2 / 4 of the rows, (a - b + c - d)^2 / 4 of the columns and (a - b - c + d)^2 / 4 of the
    interaction. Noise adds variance / repeats to each, which is taken off, so that what is 0 comes out below 0 half of the time.
    These are averaged over all pairs. With values m + row_i + column_j + delta [i = j] + other_ij the expectations are
    2 var(row) + v, 2 var(column) + v and delta^2 + v, v = var(other): a difference of two of them knows neither noise nor v.

    All cells of the n x n table together would not do: there the diagonal is a share 1 / n, and delta weighs less the larger n is.

    Returns:
        NaN in all parts with fewer than 2 rows, columns or repeats, or where a value is not finite.
    """
    n, repeats = len(values), values.shape[2]
    if min(n, repeats) < 2 or not np.isfinite(values).all():
        return Split(*[float("nan")] * 4)
    noise = float(values.var(axis=2, ddof=1).mean())
    one, other = map(list, zip(*combinations(range(n), 2), strict=True))
    cells = values.mean(2)
    a, b, c, d = cells[one, one], cells[one, other], cells[other, one], cells[other, other]
    rows, columns, fit = (float(np.mean(total**2) / 4 - noise / repeats) for total in (a + b - c - d, a - b + c - d, a - b - c + d))
    return Split(rows, columns, fit, noise)
