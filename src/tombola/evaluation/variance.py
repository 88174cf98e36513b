"""What of a table's variance comes from its rows, its columns, from how they meet, and from noise."""

from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Variances of the parts of y_ijr = m + row_i + column_j + interaction_ij + noise_ijr, in the square of y's unit."""

    rows: float
    columns: float
    interaction: float
    noise: float


def two_way(values: np.ndarray) -> Split:
    """Variance components of a table (rows, columns, repeats), all effects random, from its mean squares.

    With a rows, b columns and r repeats, MS the mean squares of the analysis of variance:
    noise = MS_noise, interaction = (MS_interaction - MS_noise) / r, rows = (MS_rows - MS_interaction) / (b r), columns likewise.
    Each is unbiased, so that one that is 0 comes out below 0 half of the time.

    Returns:
        NaN in all parts with fewer than 2 rows, columns or repeats, or where a value is not finite.

    Source: Searle, Casella & McCulloch 1992, section 4.4.
    """
    a, b, r = values.shape
    if min(a, b, r) < 2 or not np.isfinite(values).all():
        return Split(*[float("nan")] * 4)
    cells, rows, columns, mean = values.mean(2), values.mean((1, 2)), values.mean((0, 2)), values.mean()
    noise = ((values - cells[..., None]) ** 2).sum() / (a * b * (r - 1))
    meet = r * ((cells - rows[:, None] - columns + mean) ** 2).sum() / ((a - 1) * (b - 1))
    of_rows = b * r * ((rows - mean) ** 2).sum() / (a - 1)
    of_columns = a * r * ((columns - mean) ** 2).sum() / (b - 1)
    return Split(*map(float, ((of_rows - meet) / (b * r), (of_columns - meet) / (a * r), (meet - noise) / r, noise)))
