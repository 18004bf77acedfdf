"""``dlframe predict``: a recorded run's model on rows of the user's."""

import sys
from pathlib import Path

from dlframe.cli.parser import command_parser
from dlframe.cli.recorded import add_run_arguments, folder_of
from dlframe.errors import StorageError

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Rebuild the model from the run's own config and predict each row of a file."""
    parser = command_parser(
        "predict",
        "Predict the rows of a file (.csv, .parquet or .npy) with a recorded run's model. "
        "Preprocessing is the run's own; the file needs no target column.",
        "20261121-093412-k3x9 new.csv --output predictions.csv",
    )
    add_run_arguments(parser)
    parser.add_argument("file", type=Path, help="the rows to predict")
    parser.add_argument("--output", type=Path, help="write CSV there instead of on the terminal")
    arguments = parser.parse_args(argv)
    folder = folder_of(arguments)
    from dlframe.training.predictor import Predictor

    model = Predictor.from_folder(folder)
    table = model.predict_frame(model.read(arguments.file))
    as_json = arguments.json
    text = table.to_json(orient="records") + "\n" if as_json else table.to_csv(index=False)
    if arguments.output is None:
        sys.stdout.write(text)
        return 0
    try:
        arguments.output.write_text(text)
    except OSError as error:
        raise StorageError(
            f"predictions cannot be written to {str(arguments.output)!r} ({error.strerror})"
        ) from error
    print(f"{len(table)} predictions written to {arguments.output}")
    return 0
