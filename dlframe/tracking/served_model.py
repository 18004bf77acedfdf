"""The script inside a logged model; MLflow runs it to load the model where dlframe is installed."""
# ruff: noqa: TID253  (run by MLflow, which is therefore imported already)

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class ServedRun(PythonModel):
    """Predicts with a recorded run."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build the network again from the run's own files."""
        from dlframe.training.predictor import Predictor

        self._predictor = Predictor.from_folder(Path(context.artifacts["run"]))

    def predict(
        self,
        context: PythonModelContext,
        # NumPy arrays come too; but MLflow warns of every annotation it does not know, and of none.
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return a table with one row per row of ``model_input``."""
        return self._predictor.predict_frame(model_input)


set_model(ServedRun())
