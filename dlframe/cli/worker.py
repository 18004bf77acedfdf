"""``dlframe worker``: a process that takes part in a study, on this machine or another."""

import os
import signal
from pathlib import Path

from dlframe.cli.parser import command_parser
from dlframe.errors import Stopped

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Run trials of a study until it is over."""
    parser = command_parser(
        "worker",
        "Run trials of a study that `dlframe train` has begun, until none is left: another process on "
        "this machine, or one on each of many machines that any scheduler starts. All of them need the "
        "study's storage, and for what is recorded a folder (tracking.root) or a server "
        "(tracking.uri) that they share.",
        "mlp-digits-1a2b3c4d",
        "mlp-digits-1a2b3c4d --storage postgresql://me@host/studies --slots 4",
    )
    parser.add_argument("study", help="name of the study, or its beginning")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument(
        "--storage", help="address of the study's storage (default: a file in --root)"
    )
    parser.add_argument("--slots", type=int, default=1, help="trials at the same time (default: 1)")
    parser.add_argument(
        "--threads", type=int, help="CPU threads of a trial (default: cores / slots)"
    )
    arguments = parser.parse_args(argv)
    if arguments.slots < 1 or (arguments.threads or 1) < 1:
        parser.error("--slots and --threads must be at least 1")
    from dlframe.sweep.live import Watch
    from dlframe.sweep.snapshot import definition_of, snapshot
    from dlframe.sweep.storage import check_place, find_study
    from dlframe.sweep.worker import Worker

    study = find_study(arguments.study, arguments.root, arguments.storage)
    definition_of(study)
    check_place(study, arguments.storage)
    shown = find_study(study.study_name, arguments.root, arguments.storage)
    worker = Worker(
        study,
        slots=arguments.slots,
        threads=arguments.threads,
        command=["dlframe", "worker", *argv],
    )
    print(f"worker      {worker.id} (process {os.getpid()})", flush=True)
    try:
        with Watch(shown):
            worker.work()
    except Stopped as stop:
        if stop.number == signal.SIGINT:
            raise
        # A scheduler wants the machine back; for its books nothing went wrong.
        print("stopped: its trials are gone on with by the study's next worker")
    print(f"trials      {snapshot(shown).numbers.line()}")
    return 0
