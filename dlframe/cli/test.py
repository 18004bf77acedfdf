"""``dlframe test``: a recorded run's model on its test data."""

import json

from dlframe.cli.parser import command_parser
from dlframe.cli.recorded import add_run_arguments, folder_of

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Rebuild the model from the run's own config and print its test metrics."""
    parser = command_parser(
        "test",
        "Evaluate a recorded run's best weights on its test data. Network, data and "
        "splits come from the run's record.",
        "20261121-093412-k3x9",
        "last --json",
    )
    add_run_arguments(parser)
    arguments = parser.parse_args(argv)
    folder = folder_of(arguments)
    from dlframe.training.evaluate import evaluate

    metrics = evaluate(folder)
    if arguments.json:
        print(json.dumps({"run": folder.name, "metrics": metrics}))
        return 0
    for name, value in metrics.items():
        print(f"{name:<16} {value:.6g}")
    return 0
