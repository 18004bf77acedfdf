"""The files that a study leaves: the best trial to train again, all trials, why some failed.

``best.yaml``, of a study with one goal, documents the best trial and holds what trains it again::

    # The best trial of the study 'mlp-digits'. Train it again with
    #   dlframe train +from=mlp-digits
    #   dlframe train data=digits optimizer=sgd optimizer.lr=0.0123
    study: mlp-digits
    trial: 32
    run: 20261121-120032-abcdefgh
    values:
      val/loss: 0.0785
    params:
      optimizer: sgd
      optimizer.lr: 0.0123
    config_dir: null
    overrides:
    - data=digits
    - optimizer=sgd
    - optimizer.lr=0.0123

``params`` has Optuna's values by the dimensions' names, which may be ``key@component``; ``overrides``
is the whole list that the trial was composed from, in its order: what all trials share, then what it
drew. Who wants to train it composes those, together with the user's folder ``config_dir``.
``pareto.yaml``, of a study with several goals, has the same in a list under ``trials``.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial

from dlframe.errors import StorageError
from dlframe.sweep.importance import importances
from dlframe.sweep.marks import INFRASTRUCTURE, SAID, UID, reason
from dlframe.sweep.rows import command, logs, named_values, overrides, row
from dlframe.sweep.snapshot import Snapshot, taken
from dlframe.tracking.provenance import command_line
from dlframe.tracking.redaction import redacted_values
from dlframe.tracking.whole import write_whole

__all__ = ["BEST", "FAILURES", "PARETO", "TRIALS", "write_results"]

BEST, PARETO, TRIALS = "best.yaml", "pareto.yaml", "trials.csv"
IMPORTANCES, FAILURES = "importances.json", "failures.md"
_MEANINGS = {
    "exception": "The training raised an error, which is yours to mend",
    "config": "The values do not go together",
    "value": "The objective was missing, NaN or infinite",
    "killed": "A signal ended the process, or it ended without a word",
    "memory": "It took more memory than it may",
    "timeout": "It took longer than it may",
    "lost": "Its worker was gone",
    "stopped": "It was asked to stop",
}


def write_results(study: optuna.Study | Snapshot, folder: Path) -> list[Path]:
    """Write what came out of a study, as far as there is anything.

    Args:
        study: the study.
        folder: where the files go; those of an earlier time are replaced.

    Returns:
        The files: ``best.yaml`` or ``pareto.yaml``, ``trials.csv``, ``importances.json``,
        ``failures.md``.

    Raises:
        StorageError: they cannot be written.
    """
    found = taken(study)
    texts = {TRIALS: _trials(found)}
    if found.best:
        several = len(found.definition.goals) > 1
        texts |= {PARETO: _pareto(found)} if several else {BEST: _best(found)}
    if (shares := importances(found)) is not None:
        texts[IMPORTANCES] = json.dumps(shares.plain(), indent=1) + "\n"
    if found.of("failed", "retried"):
        texts[FAILURES] = "\n".join(_failures(found)) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_whole(folder / name, text)
    except OSError as error:
        raise StorageError(
            f"the results of the study {found.name!r} cannot be written to {str(folder)!r} "
            f"({error.strerror}); choose another folder with `dlframe study export {found.name} --out "
            "FOLDER`"
        ) from error
    return [folder / name for name in texts]


def _entry(found: Snapshot, trial: FrozenTrial) -> dict[str, Any]:
    entry: dict[str, Any] = redacted_values(
        {
            "trial": trial.number,
            "run": trial.user_attrs.get(UID),
            "values": named_values(found, trial),
            "params": dict(trial.params),
            "config_dir": found.definition.config_dir,
            "overrides": overrides(found, trial),
        }
    )
    return entry


def _best(found: Snapshot) -> str:
    [trial] = found.best
    said = [
        f"The best trial of the study {found.name!r}. Train it again with",
        f"  dlframe train +from={found.name}",
        f"  {command_line(command(found, trial))}",
    ]
    return _yaml(said, {"study": found.name, **_entry(found, trial)})


def _pareto(found: Snapshot) -> str:
    said = [
        f"The trials of the study {found.name!r} that no other one beats in all goals. Train one with",
        f"  dlframe study best {found.name} --trial N --command",
    ]
    goals = {goal.metric: goal.direction for goal in found.definition.goals}
    trials = [_entry(found, trial) for trial in found.best]
    return _yaml(said, {"study": found.name, "goals": goals, "trials": trials})


def _yaml(said: list[str], values: dict[str, Any]) -> str:
    head = "".join(f"# {line}\n" for text in said for line in text.splitlines())
    return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=10_000)


def _trials(found: Snapshot) -> str:
    """Return one line for each trial, with a column for each goal and each dimension."""
    metrics = [goal.metric for goal in found.definition.goals]
    dimensions = [own.name for own in found.definition.space]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["number", "state", "reason", *metrics, *dimensions, "seconds", "epochs", "run", "attempt",
         "retry_of"]
    )  # fmt: skip
    for trial in found.trials:
        own = row(found, trial)
        cells = [
            own["trial"], own["state"], own["reason"], *(own["values"].get(m) for m in metrics),
            *(own["params"].get(name) for name in dimensions), own["seconds"], own["epochs"],
            own["run"], own["attempt"], own["retry_of"],
        ]  # fmt: skip
        writer.writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue()


def _failures(found: Snapshot) -> Iterator[str]:
    by_reason: defaultdict[str, list[FrozenTrial]] = defaultdict(list)
    for trial in found.of("failed", "retried"):
        by_reason[str(reason(trial) or "unknown")].append(trial)
    again = found.numbers.retried
    yield f"# Trials of the study {found.name} that failed\n"
    yield f"{found.numbers.line()}.\n"
    if again:
        yield f"{again} of those that failed were begun again, or will be by the next command.\n"
    for why, trials in sorted(by_reason.items(), key=lambda each: -len(each[1])):
        plural = "" if len(trials) == 1 else "s"
        yield f"## {why}: {len(trials)} trial{plural}\n"
        advice = "" if why in INFRASTRUCTURE else f"; then `dlframe study retry {found.name}`"
        yield f"{_MEANINGS.get(why, 'Nothing more is known')}{advice}.\n"
        example = next((trial for trial in trials if trial.user_attrs.get(SAID)), None)
        if example is not None:
            said = redacted_values(" ".join(str(example.user_attrs[SAID]).split()))
            yield f"For example trial {example.number}: {said}\n"
        yield "| trial | what became of it | run | log |\n| ---: | --- | --- | --- |"
        for trial in trials:
            became = "begun again" if found.standings[trial.number] == "retried" else "counts"
            written = ", ".join(f"`{path}`" for path in logs(found, trial)) or "none"
            yield f"| {trial.number} | {became} | {trial.user_attrs.get(UID, '')} | {written} |"
        yield ""
