"""What faults cost a training and its record: dlframe and Lightning's MLFlowLogger, by SQL.

    python benchmarks/faults.py                                       dlframe on SQLite and PostgreSQL
    python benchmarks/faults.py --loggers dlframe mlflow mlflow-async --databases sqlite

The scenes are those of ``tests/tracking/fault_scenes.py``: real MLflow servers behind a proxy that
misbehaves, real processes killed with real signals. A training logs 20 values a step and writes down
what it has logged; the table compares that with the rows in MLflow's database.
"""

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tracking"))

from fault_scenes import FAULTS, LOGGERS, OWN, Result, Scene, play
from fault_support import Server, postgres
from measure import facts, table

_HEADS = ("fault", "logger, database", "training", "values", "lost", "doubled", "status",
          "true after s", "% in log calls", "held up s")  # fmt: skip


def main() -> None:
    """Play the scenes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loggers", nargs="+", choices=LOGGERS, default=["dlframe"])
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgres"),
                        default=["sqlite", "postgres"])  # fmt: skip
    parser.add_argument("--faults", nargs="+", default=[""], help="beginnings of their names")
    options = parser.parse_args()
    chosen = [f for f in FAULTS if f.startswith(tuple(options.faults))]
    rows: dict[tuple[str, str], tuple[str, ...]] = {}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        for database in options.databases:
            given = stack.enter_context(postgres() if database == "postgres" else nullcontext(""))
            for logger in options.loggers:
                # A server of its own, since what one logger has left behind may come late.
                server = Server(Path(temporary) / f"{database}-{logger}", given)
                stack.callback(server.close)
                server.start()
                for number, fault in enumerate(chosen):
                    place = Path(temporary) / f"{database}-{logger}-{number}"
                    row = _play(fault, server, place, logger)
                    rows[fault, f"{logger}, {database}"] = row
                    print("|".join((fault, logger, database, *row)), file=sys.stderr, flush=True)
                server.close()
    print(facts("dlframe", "mlflow", "lightning"))
    print(
        table(
            _HEADS, [(*key, *rows[key]) for key in sorted(rows, key=lambda k: chosen.index(k[0]))]
        )
    )


def _play(fault: str, server: Server, folder: Path, logger: str) -> tuple[str, ...]:
    own = logger == "dlframe"
    if fault in OWN and not own:
        return ("does not apply", *[""] * 7)
    scene = Scene(server, folder, logger, patience=600, steps=1000 if own else 400)
    try:
        return _cells(play(fault, scene, settle=180 if own else 31))
    except (AssertionError, pytest.skip.Exception) as error:
        return (f"{type(error).__name__}: {error}".splitlines()[0], *[""] * 7)


def _cells(result: Result) -> tuple[str, ...]:
    ends = {0: "ends", -signal.SIGKILL: "killed"}
    codes = sorted({ends.get(code or 0, "dies") for code in result.codes})
    right = result.status == result.expected
    return (
        " and ".join(codes),
        str(result.logged),
        str(result.lost),
        str(result.doubled) if result.runs == result.expected_runs else
        f"{result.doubled}; {result.runs} runs for {result.expected_runs}",
        result.status,
        f"{result.seconds:.1f}" if right else "never",
        f"{100 * result.delay:.1f}",
        f"{result.held:.2f}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
