"""A DataFrame handed over in memory, as data."""

from typing import Annotated, Literal

import pandas as pd

from dlframe.components.data.held import find
from dlframe.components.data.parquet_file import checked_table
from dlframe.components.data.table import Table, Treatment
from dlframe.components.data.table_file import TableFile
from dlframe.interfaces.options import Ge, Gt, Lt, Positive

__all__ = ["Frame"]


class Frame(Table):
    """A DataFrame handed over in memory: ``dlframe.train(..., data=(frame, "price"))``.

    The targets are named columns of it, an array or Series with one row for each of its own, or None.
    It is read like a file of ``data=csv``, and recorded by its SHA-256, so that a run can go on, or be
    repeated, where the same DataFrame is handed over.

    Args:
        content: the DataFrame's SHA-256, which ``dlframe.train`` fills in.
        task: what the target is for. ``auto``: strings, booleans and whole numbers with at most 20
            distinct values are classes, other numbers regression; several columns of 0 and 1 are
            labels (multilabel), several of other numbers regression.
        numerical: columns to take as numbers; texts in them count as missing.
        categorical: columns whose distinct values, numbers included, are categories.
        ignore: columns to leave out.
        missing: what becomes of gaps in the features: ``median`` (of the training rows; categories:
            the commonest), ``most_frequent``, ``drop`` (leaves rows with gaps out; in rows to
            predict gaps are filled as with ``median``) or ``error``.
        missing_target: what becomes of rows without target: ``error`` or ``drop``.
        scaling: of numbers: ``standard`` (mean 0, standard deviation 1), ``minmax`` (0 to 1),
            ``robust`` (median 0, interquartile range 1) or ``none``.
        max_categories: most 0/1 columns per categorical column; the rarest share the last one.
        clip: where outliers are clipped: ``none``, ``quantile`` or ``iqr``.
        clip_quantile: with ``clip=quantile``, share of the values clipped at each end.
        clip_iqr: with ``clip=iqr``, distance from the quartiles, in interquartile ranges.

    Raises:
        DataError: the DataFrame is not in this process, or not what the options say.
    """

    def __init__(
        self,
        *,
        content: str,
        task: Literal["auto", "classification", "regression", "multilabel"] = "auto",
        numerical: tuple[str, ...] = (),
        categorical: tuple[str, ...] = (),
        ignore: tuple[str, ...] = (),
        missing: Literal["median", "most_frequent", "drop", "error"] = "median",
        missing_target: Literal["error", "drop"] = "error",
        scaling: Literal["standard", "minmax", "robust", "none"] = "standard",
        max_categories: Annotated[int, Ge(2)] = 32,
        clip: Literal["none", "quantile", "iqr"] = "none",
        clip_quantile: Annotated[float, Gt(0), Lt(0.5)] = 0.01,
        clip_iqr: Positive = 3.0,
    ) -> None:
        self._content = content
        treatment = Treatment(
            numerical=numerical,
            categorical=categorical,
            ignore=ignore,
            missing=missing,
            missing_target=missing_target,
            scaling=scaling,
            max_categories=max_categories,
            clip=clip,
            clip_quantile=clip_quantile,
            clip_iqr=clip_iqr,
        )
        super().__init__("DataFrame", task, treatment, TableFile(",", True, "utf-8"))

    def table(self) -> tuple[pd.DataFrame, list[str]]:
        """Find the DataFrame."""
        held = find(self._content)
        assert isinstance(held.x, pd.DataFrame)
        names = held.y if isinstance(held.y, list) else []
        return checked_table(held.x, self.name), names
