"""Tables with numbers and categories, encoded by scikit-learn's transformers."""

from typing import Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.loading import summary
from tombola.core.task import Data
from tombola.data.arrays import Targets, from_arrays
from tombola.data.held_out import held_out


def from_table(
    table: Any,
    target: str,
    test: Any = 0.2,
    *,
    encoder: Any = None,
    kind: Targets | None = None,
    validation: int | None = None,
    name: str = "table",
) -> Data:
    """The `Data` of a pandas table with columns of numbers and of categories.

    The encoder sees no test row before it is fitted: means, medians and categories are those of the rows that training and validation
    examples are drawn from.

    Args:
        table: a DataFrame; rows that test and training share are the user's to leave out.
        target: the column to be learnt: labels; or numbers with a fraction, which are values to regress.
        test: a table with the same columns, or the share of the rows that is the test set, drawn once by a fixed key.
        encoder: a transformer of scikit-learn's, which is fitted here; None: `table_encoder`.
        kind: of the target, as `targets` of `tombola.from_arrays`.
        validation, name: as of `tombola.from_arrays`.

    Raises:
        TombolaError: for a column that is not there, or that no encoder takes.
    """
    if not hasattr(table, "columns") or not hasattr(table, "drop"):
        raise TombolaError(f"a {type(table).__name__} is no pandas DataFrame; use from_arrays for arrays")
    if target not in table.columns:
        raise TombolaError(f"target = {target!r}, but the table has the columns {', '.join(map(str, table.columns))}")
    if isinstance(test, float):
        chosen = held_out(len(table), test)
        table, tested = table[~chosen], table[chosen]
    else:
        tested = test
    if missing := [column for column in table.columns if column not in getattr(tested, "columns", ())]:
        raise TombolaError(f"the test table lacks the column {missing[0]!r}; give one with the same columns")
    features = table.drop(columns=[target])
    encoder = table_encoder(features) if encoder is None else encoder
    try:
        encoded = [encoder.fit_transform(features), encoder.transform(tested[features.columns])]
    except ValueError as error:
        raise TombolaError(f"the table cannot be encoded: {summary(error)}; give an encoder of your own, encoder=...") from None
    x, test_x = (np.asarray(one.todense() if hasattr(one, "todense") else one, np.float32) for one in encoded)
    return from_arrays(x, table[target].to_numpy(), test_x, tested[target].to_numpy(), validation, name, targets=kind)


def table_encoder(features: Any) -> Any:
    """A transformer for the columns of a table, not fitted yet.

    Numbers: the median where one is missing, then mean 0 and deviation 1. All else is categories: a column of 0 and 1 for each that
    training rows have (what they have not is 0 in all), with missing values as one more.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    if dates := [column for column in features.columns if features[column].dtype.kind in "mM"]:
        raise TombolaError(f"column {dates[0]!r} holds times; make numbers or categories of them first, such as .dt.dayofweek")
    numbers = [column for column in features.columns if features[column].dtype.kind in "fiu"]
    categories = [column for column in features.columns if column not in numbers]
    return make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
    )
