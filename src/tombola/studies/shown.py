"""What results have in common: they show themselves, as a line, as tables, as pictures, and in notebooks."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.core.brief import brief
from tombola.core.errors import unknown
from tombola.core.objective import Objective
from tombola.studies.figure import Figure, Panel
from tombola.studies.results import Details

if TYPE_CHECKING:
    import pandas as pd


class Shown:
    """A result. A class says which `tables` it has and which `pictures` are drawn of what; all else follows from that."""

    glance = ""
    """The table that a notebook shows; "": the first."""

    def tables(self) -> "dict[str, pd.DataFrame]":
        """Name -> table, the main one first."""
        raise NotImplementedError

    def pictures(self) -> "Sequence[tuple[Figure, pd.DataFrame]]":
        """Figures with the rows that each draws, the main one first. Columns `variant`, `arm`, `level`, `replicate` and `density` that
        rows lack are one and the same for all.
        """
        return ()

    def to_pandas(self, table: str | None = None) -> "pd.DataFrame":
        """A table as a `pandas.DataFrame`: the main one, or another by its name. Raises for a name that there is not."""
        found = self.tables()
        if table is not None and table not in found:
            raise unknown("table", table, found)
        return next(iter(found.values())) if table is None else found[table]

    def plot(self, figure: str | None = None) -> Any:
        """The main figure, or another by its name, as a `tombola.report.notebook.Picture`: a notebook shows it, ``.save("figure.pdf")``
        writes it, and ``.figure`` is matplotlib's.

        Raises:
            TombolaError: for a name that there is not, and where there is nothing to draw.
        """
        return import_module(_VIEWS).plot(self, figure)

    def _repr_html_(self) -> str:
        found: str = import_module(_VIEWS).html(self)
        return found

    def _brief(self) -> Iterator[tuple[str, Any]]:
        """The fields that its `repr` names."""
        yield from ((one.name, getattr(self, one.name)) for one in fields(self) if one.repr)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return brief(self)


_VIEWS = "tombola.report.notebook"
"""Drawing is in a room after this one, and is loaded when it is asked for, as the homes of registries are."""


def headline_panel(objective: Objective, metric: str, where: str = "test", error: bool = False) -> Panel:
    """Axes for the headline, as curves have it (of classification the accuracy), or as an error."""
    shown = objective.headline
    title = shown.title if error else shown.in_curves
    return Panel(metric, " ".join(filter(None, [where, title, f"({shown.unit})" if shown.unit else ""])), shown.factor)


def as_arms(table: "pd.DataFrame", column: str, arms: Mapping[str, str]) -> "pd.DataFrame":
    """Columns side by side as rows below each other, told apart by `arm`: what is in `arms[arm]` is then in `column`."""
    import pandas as pd

    return pd.concat([table.assign(arm=arm, **{column: table[name]}) for arm, name in arms.items()], ignore_index=True)


def long(axes: Sequence[tuple[str, Any]], **columns: Any) -> "pd.DataFrame":
    """Arrays as a table with a row for each of their entries.

    Args:
        axes: (name, what its places are called) of each axis, in their order.
        columns: name -> array with these axes, or with the first few of them.
    """
    import pandas as pd

    index = pd.MultiIndex.from_product([names for _, names in axes], names=[name for name, _ in axes])
    shape = tuple(len(names) for _, names in axes)
    filled = {name: np.broadcast_to(of.reshape(*of.shape, *[1] * (len(shape) - of.ndim)), shape) for name, of in columns.items()}
    return pd.DataFrame({name: of.reshape(-1) for name, of in filled.items()}, index=index).reset_index()


def picture(values: np.ndarray, **where: Any) -> "pd.DataFrame":
    """A picture (rows, columns) as a details table, and where it stands in that."""
    return long([("row", range(len(values))), ("column", range(values.shape[1]))], value=values).assign(**where)


_FIRST = {"variant": "", "arm": "", "level": 0, "density": 1.0}
"""What details tables that are drawn begin with, and what those have there that do not say it."""


def framed(details: Details, drawn: Container[str] = ()) -> "dict[str, pd.DataFrame]":
    """Details tables as frames; those that are drawn begin with variant, arm, level and density, and `replicate` where there is one."""
    import pandas as pd

    found = dict[str, pd.DataFrame]()
    for name, given in details.items():
        parts = given if isinstance(given, pd.DataFrame) else list(given)
        joined = pd.concat(parts, ignore_index=True) if isinstance(parts, list) and parts and isinstance(parts[0], pd.DataFrame) else parts
        found[name] = frame = pd.DataFrame(joined)
        if name in drawn:
            frame = frame.assign(**{column: value for column, value in _FIRST.items() if column not in frame})
            first = [column for column in (*_FIRST, "replicate") if column in frame]
            found[name] = frame[[*first, *(column for column in frame if column not in first)]]
    return found
