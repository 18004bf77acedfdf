"""``dlframe sync``: delivers what is left over."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlframe.cli.parser import command_parser

if TYPE_CHECKING:
    from dlframe.tracking.progress import Delivery

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Deliver; 0 when all is delivered, 1 when something is left or cannot be used."""
    parser = command_parser(
        "sync",
        "Deliver recorded runs to MLflow: what a crash or an outage has left over, what was recorded "
        "with tracking.offline=true, or a folder that was copied from another machine. What is there "
        "already is not doubled.",
        "",
        "runs --uri http://mlflow.example.org:5000",
        "copied/20261121-093412-k3x9",
    )
    parser.add_argument(
        "folder", nargs="?", default="runs", type=Path,
        help="folder of the runs, or of one run (default: runs)",
    )  # fmt: skip
    parser.add_argument("--uri", help="MLflow server or database to deliver to instead")
    parser.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS",
        help="give up after so long without progress (default: 60)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    from dlframe.tracking import sync
    from dlframe.tracking.backlog import Backlog

    recorded = sync.recorded_in(arguments.folder)
    left, skipped = sync.release(recorded, arguments.uri)
    before = len(recorded) - len(left) - len(skipped)
    for sentence in skipped:
        print(f"dlframe: {sentence}", file=sys.stderr)
    with Backlog() as backlog:
        states = sync.wait(left, arguments.wait, backlog.show)
    if arguments.json:
        print(json.dumps({"runs": [_facts(f, d) for f, d in states.items()],
                          "delivered_before": before, "skipped": skipped}))  # fmt: skip
    else:
        _say(states, before)
    return 0 if not skipped and all(delivery.complete for delivery in states.values()) else 1


def _facts(folder: Path, delivery: "Delivery") -> dict[str, Any]:
    from dlframe.tracking.redaction import without_credentials

    return {
        "run": folder.name,
        "complete": delivery.complete,
        "left": delivery.backlog,
        "refused": delivery.rejected,
        "error": delivery.error,
        "mlflow_run_id": delivery.mlflow_run_id,
        "tracking_uri": without_credentials(delivery.tracking_uri),
    }


def _say(states: dict[Path, "Delivery"], before: int) -> None:
    for folder, delivery in states.items():
        facts = _facts(folder, delivery)
        line = f"delivered to {facts['tracking_uri']}"
        if not delivery.complete:
            line = f"{delivery.backlog} records left: {delivery.note}"
        elif delivery.error is not None:
            line = f"delivered, but {delivery.error}"
        print(f"{folder.name}  {line}")
        if delivery.rejected:
            print(f"  {delivery.rejected} entries were refused: {folder / 'rejected.jsonl'}")
    done = sum(delivery.complete for delivery in states.values())
    earlier = f", {before} had been before" if before else ""
    print(f"{done} of {len(states)} runs delivered{earlier}")
    if done < len(states):
        print("the delivery process goes on in the background")
