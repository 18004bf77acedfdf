"""``dlframe train``: Hydra composes, Lightning trains, MLflow records."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlframe.cli.result import report
from dlframe.cli.train_from import begun_from
from dlframe.errors import ConfigError, DlframeError, sentence

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from dlframe.analysis.multirun import Multirun
    from dlframe.sweep.sweeper import Launcher

__all__ = ["run"]

HELP = """usage: dlframe train [options] [group=component] [group.option=value ...]

Trains a network composed from named parts, tests it, and records the run in MLflow.

  -m, --multirun         one run for each combination of comma-separated values
  --dry-run, --fresh     of a search: print its space and budget and stop; begin it anew
  --cfg job              print the composed config and stop
  --config-dir, -cd DIR  a folder of your own YAML files (experiment/, data/, ...)
  --json                 print the result as JSON
  --hydra-help           Hydra's own options

groups: architecture activation loss optimizer regularizer scheduler initializer data task
        trainer tracking transfer experiment debug sweep; `dlframe ls` lists their components,
        `dlframe show optimizer/adam` the options of one, `dlframe show trainer` those of the run,
        `dlframe show sweep` those of a search.

examples:
  dlframe train architecture=cnn activation=gelu optimizer=adamw optimizer.lr=3e-4
  dlframe train 'regularizer=[l2,dropout,early_stopping]' regularizer.dropout.p=0.3
  dlframe train data=csv data.path=table.csv data.target=price trainer.max_epochs=50
  dlframe train -m activation=relu,gelu,tanh seed=1,2,3
  dlframe train data=wine data.folds=5              cross-validation: a run with each fold, averaged
  dlframe train debug=overfit
  dlframe train sweep=tpe activation=relu,gelu optimizer.lr='tag(log,interval(1e-4,1e-1))'
  dlframe train sweep=auto architecture=mlp,cnn hydra.sweeper.n_trials=60 hydra.sweeper.n_workers=2
  dlframe train +from=<study>                       the best of a search, `dlframe study` lists them
  dlframe train +from=<run> 'transfer.parts=[features]' 'trainer.freeze=[features]'   a run's weights"""


def run(argv: list[str]) -> int:
    """Compose and train; one run, or with ``-m`` one per combination."""
    if any(word in ("-h", "--help") for word in argv):
        print(HELP)
        return 0
    command = ["dlframe", "train", *argv]
    argv = [_SWEEP_FLAGS.get(word, word) for word in argv]
    from dlframe.config.compose import explain, prepare
    from dlframe.config.overrides import is_sweep, parse
    from dlframe.config.source import searching

    flags, overrides = _split([word for word in argv if word != "--json"])
    overrides, kept = begun_from(overrides)
    config_dir = _config_dir(argv) or kept
    job = _Job(
        argv=command,
        as_json="--json" in argv,
        many=any(word in _MANY for word in argv),
        config_dir=config_dir,
    )
    if is_sweep(overrides):
        from dlframe.sweep.sweeper import register

        register()
        if any(flag.partition("=")[0] in _SHOWING for flag in flags):
            # Hydra shows the config of one job, which has none of several values.
            overrides = [text for text in overrides if not parse(text).is_sweep_override()]
            flags = [flag for flag in flags if flag not in _MANY]
        else:
            flags += [] if job.many else ["--multirun"]
            job.many = job.searches = True
    prepare(overrides, config_dir, many=job.many)
    # Hydra then raises what went wrong instead of printing its own version of it and exiting.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    before = sys.argv
    try:
        with searching(config_dir):
            _carry_out(job, flags, overrides, config_dir)
            if job.folds is not None and not job.many:  # known only now: a preset may have them
                job.many = True
                _carry_out(job, [*flags, "--multirun"], overrides, config_dir)
    except Exception as error:
        if job.training:
            raise
        raise explain(error, overrides, config_dir, many=job.many) from error
    finally:
        sys.argv = before
    return 0


def _carry_out(
    job: "_Job", flags: list[str], overrides: list[str], config_dir: Path | None
) -> None:
    """Have Hydra compose and call the job, or each of several."""
    import hydra

    from dlframe.config.source import CONF

    several = job.many and not job.searches
    first = None
    if several and not any(word.partition("=")[0] in _SHOWING for word in flags):
        overrides, first = _jobs(job, overrides, config_dir)
    sys.argv = ["dlframe train", *flags, *overrides]
    main = hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(job)
    with _together(job, overrides, first):
        main()
        job.report()


def _jobs(
    job: "_Job", overrides: list[str], config_dir: Path | None
) -> "tuple[list[str], DictConfig]":
    """Return the overrides of a multirun, with each fold if there are folds, and its first config."""
    from dlframe.config.compose import compose
    from dlframe.config.folds import all_folds, refuse_several_numbers, with_each_fold
    from dlframe.config.overrides import first_job

    refuse_several_numbers(overrides)
    config = compose(first_job(overrides)[0], config_dir=config_dir)
    job.folds = all_folds(config)
    return (with_each_fold(overrides, job.folds) if job.folds else overrides), config


@contextmanager
def _together(job: "_Job", overrides: list[str], first: "DictConfig | None") -> Iterator[None]:
    """Record the jobs of a multirun under one parent run, which compares them at the end.

    Args:
        job: what Hydra calls.
        overrides: of the multirun.
        first: config of the first job; None where there are not several.
    """
    if first is None:
        yield
        return
    from dlframe.config.overrides import first_job
    from dlframe.config.validate import settings

    tracking = settings(first, "tracking")
    if not tracking["enabled"]:
        yield
        if job.folds:
            print("note: without records (tracking.enabled=false) folds are not averaged",
                  file=sys.stderr)  # fmt: skip
        return
    from dlframe.analysis.multirun import Multirun

    multirun = Multirun(first, tracking, first_job(overrides)[1], job.argv)
    job.parent = multirun.id
    try:
        with multirun.around():
            yield
    finally:
        if multirun.status is not None:  # else the comparison failed, which is said
            _conclude(multirun, as_json=job.as_json)


def _conclude(multirun: "Multirun", *, as_json: bool) -> None:
    """Say what came out, and wait for its delivery."""
    comparison = multirun.comparison
    if not as_json:
        from dlframe.cli.compare import show

        if comparison is not None:
            show(comparison, most=1)
        print(f"multirun    {multirun.id}")
        if comparison is not None:
            print(f"report      {multirun.report}", flush=True)
    if multirun.status != "KILLED" and (
        note := multirun.wait()
    ):  # who stopped it waits for nothing
        print(f"note        {note}", file=sys.stderr if as_json else sys.stdout)


_MANY = ("-m", "--multirun")
_SWEEP_FLAGS = {
    "--dry-run": "hydra.sweeper.dry_run=true",
    "--fresh": "hydra.sweeper.fresh=true",
}
_SHOWING = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc")
_TAKING_VALUE = ("--cfg", "-c", "--config-dir", "-cd", "--config-name", "-cn", "--config-path",
                 "-cp", "--package", "-p", "--experimental-rerun")  # fmt: skip


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Tell Hydra's own flags, with their values, from overrides; argparse wants them apart."""
    flags: list[str] = []
    overrides: list[str] = []
    for before, word in zip(["", *argv], argv, strict=False):
        own = word.startswith("-") or before in _TAKING_VALUE
        (flags if own else overrides).append(word)
    return flags, overrides


def _config_dir(argv: list[str]) -> Path | None:
    for number, word in enumerate(argv):
        if word in ("--config-dir", "-cd") and number + 1 < len(argv):
            return Path(argv[number + 1])
        if word.startswith("--config-dir="):
            return Path(word.partition("=")[2])
    return None


class _Job:
    """What Hydra calls with each composed config; launchers may pickle it."""

    def __init__(self, argv: list[str], as_json: bool, many: bool, config_dir: Path | None) -> None:
        self.argv, self.as_json, self.many, self.config_dir = argv, as_json, many, config_dir
        self.searches = self.training = False
        self.parent: str | None = None
        self.folds: int | None = None
        self._process, self._jobs, self._errors = os.getpid(), 0, list[Exception]()

    def __call__(self, config: "DictConfig") -> None:
        self._jobs += 1
        try:
            self._run(config)
        except Exception as error:
            if os.getpid() != self._process:  # a launcher's process, which only Hydra reports from
                raise
            # Hydra would print lines of its own around our sentence, and only for the first job.
            self._errors.append(error)
            if self.many:
                print(f"dlframe: {self._name()}: {sentence(error)}", file=sys.stderr)

    def conduct(self, arguments: list[str], options: dict[str, Any], launcher: "Launcher") -> None:
        """Run a sweep; its sweeper calls this."""
        from dlframe.cli.train_sweep import conduct

        self.training = True  # what goes wrong from here on says so itself
        conduct(
            arguments,
            options,
            launcher,
            config_dir=self.config_dir,
            command=self.argv,
            as_json=self.as_json,
        )

    def report(self) -> None:
        """Raise what went wrong in this process's jobs."""
        if self._errors and not self.many:
            raise self._errors[0]
        if self._errors:
            raise DlframeError(f"{len(self._errors)} of {self._jobs} jobs failed, as said above")

    def _name(self) -> str:
        from hydra.core.hydra_config import HydraConfig

        return f"job {self._jobs} ({' '.join(HydraConfig.get().overrides.task)})"

    def _check_folds(self, folds: int | None) -> None:
        """Refuse a job of a multirun over folds that has another number of them, as of a preset."""
        if self.folds not in (None, folds):
            raise ConfigError(
                f"all runs of one command have the same data.folds; got {folds} beside {self.folds}: "
                "set it on the command line, or give each number a command of its own"
            )

    def _run(self, config: "DictConfig") -> None:
        from hydra.core.hydra_config import HydraConfig

        from dlframe.config.folds import all_folds
        from dlframe.config.validate import validate

        overrides = list(HydraConfig.get().overrides.task)
        checked = validate(config)  # before torch is imported
        if not self.many and (folds := all_folds(checked)):
            self.folds, self._jobs = folds, 0  # to be trained as a multirun
            return
        self._check_folds(checked["data"]["folds"])
        self.training = True
        from dlframe.training.run import execute

        # This process waits for all jobs at its end; one of a launcher's may take its machine along.
        waits = self.parent is None or os.getpid() != self._process
        done = execute(
            checked, overrides=overrides, command=self.argv, parent=self.parent, wait=waits
        )
        report(done, as_json=self.as_json, parent=self.parent)
