"""``dlframe``: finds the command, runs it, and turns errors into one sentence and an exit code."""

import os
import signal
import sys
import traceback
from importlib import import_module

import dlframe
from dlframe.errors import Stopped, did_you_mean, sentence

__all__ = ["COMMANDS", "entry_point", "main"]

COMMANDS: dict[str, str] = {
    "train": "train, test and record a network composed from named parts (-m: several)",
    "find": "find a learning rate or a batch size from some steps of training",
    "resume": "go on with a run that was interrupted",
    "replay": "train a recorded run again and compare the numbers",
    "test": "evaluate a recorded run's model on its test data",
    "predict": "predict rows of a file with a recorded run's model",
    "sync": "deliver to MLflow what is left over after a crash, an outage or offline",
    "runs": "list and filter recorded runs; show one; close those whose process is gone",
    "study": "list studies; how one stands, its best trial, its figures; begin failures again",
    "worker": "take part in a study: one more process, on this machine or another",
    "ui": "open recorded runs in MLflow's pages",
    "compare": "compare recorded runs: means over seeds, intervals, tests, a report",
    "ls": "list components, of one kind or of all",
    "show": "show a component's options, or what a config group holds",
    "plugins": "list plugins: version, state, what each provides",
    "doctor": "check versions, devices, stores and plugins",
    "new": "write a plugin package to start from",
    "check": "run the conformance tests over a plugin's components",
}

_OK, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 128


def main(argv: list[str]) -> int:
    """Run one command; return 0 when done, 1 if it failed, 2 if misused, 128 + a signal if stopped."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return _OK if argv else _USAGE
    if argv[0] in ("-V", "--version"):
        print(f"dlframe {dlframe.__version__}")
        return _OK
    name = argv[0]
    if name not in COMMANDS:
        return _fail(
            f"there is no command {name!r}; {did_you_mean(name, COMMANDS)}`dlframe --help` lists all",
            _USAGE,
        )
    try:
        code: int = import_module(f"dlframe.cli.{name}").run(argv[1:])
        sys.stdout.flush()  # here, where it is known what to do if nobody reads it
        return code
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        return _fail(f"stopped{stop}", _INTERRUPTED + number)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OK
    except Exception as error:
        return _fail(sentence(error), _FAILED)


def _fail(message: str, code: int) -> int:
    if os.environ.get("DLFRAME_DEBUG") and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"dlframe: {message}", file=sys.stderr)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return f"""usage: dlframe <command> [...]

Deep-learning experiments from named parts: every architecture, activation, loss, optimizer,
regularizer, scheduler, initializer, data set and task is chosen by name, and every run is recorded.

{commands}

examples:
  dlframe train                                     an MLP on scikit-learn's digits
  dlframe train architecture=cnn optimizer.lr=3e-4  other parts, other options
  dlframe ls optimizer                              what there is
  dlframe train --help                              more of it

dlframe <command> --help says more of a command; DLFRAME_DEBUG=1 shows tracebacks."""


def entry_point() -> None:
    """Run the command line of this process."""
    sys.exit(main(sys.argv[1:]))
