"""From a command's options to its study: new, gone on with, begun anew, or somebody else's."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import pytest

from dlframe.config.settings import SweepOptions
from dlframe.errors import ConfigError, StorageError
from dlframe.sweep.begin import Plan, begin, plan
from dlframe.sweep.definition import Chosen, Definition, Goal
from dlframe.sweep.existing import alone
from dlframe.sweep.frozen import Composer
from dlframe.sweep.marks import BEGUN, DEFINITION, FOLDER, WORKER
from dlframe.sweep.pool import Pool
from dlframe.sweep.storage import journal_of, open_storage

_LR = "optimizer.lr"
_SPACE = "optimizer.lr=interval(0.001,0.1)"


@pytest.fixture(scope="module")
def pool() -> Iterator[Callable[[], Pool]]:
    """What builds the first trials' parts, once that is needed."""
    made: list[Pool] = []

    @cache
    def started() -> Pool:
        made.append(Pool(1))
        return made[0]

    yield started
    for each in made:
        each.close()


Planned = Callable[..., Plan]


@pytest.fixture
def planned(tmp_path: Path, pool: Callable[[], Pool]) -> Planned:
    """A function that plans a sweep whose runs lie in the test's folder."""

    def made(
        *overrides: str,
        config_dir: Path | None = None,
        sampler: str = "random",
        pruner: Chosen | str | None = "auto",
        **options: Any,
    ) -> Plan:
        words = [*(overrides or (_SPACE,)), "data=iris", f"tracking.root={tmp_path / 'runs'}"]
        given = SweepOptions(**options)
        return plan(words, given, Chosen(f"dlframe/{sampler}"), pruner, config_dir, pool)

    return made


def _begun(made: Plan, **options: Any) -> optuna.Study:
    with alone(made.folder):
        return begin(made, SweepOptions(**options))


def _queued(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.system_attrs["fixed_params"] for trial in study.get_trials()]


def _finish(study: optuna.Study, trials: int) -> None:
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, trial.suggest_float(_LR, 0.001, 0.1))


# --- what it begins with --------------------------------------------------------------------------


def test_what_a_killed_command_left_out_is_made_up_for(planned: Planned) -> None:
    enqueue = [{_LR: 0.042}, {_LR: 0.05}, {_LR: 0.042}]
    made = planned(enqueue=enqueue)
    # As it stands when the command is killed after the first of them.
    study = optuna.create_study(
        study_name=made.definition.name, storage=open_storage(made.storage), direction="maximize"
    )
    study.set_user_attr(FOLDER, str(made.folder))
    study.set_user_attr(DEFINITION, made.definition.to_json())
    study.enqueue_trial({_LR: 0.042})
    again = planned(enqueue=enqueue)
    assert again.study is not None
    assert _queued(_begun(again, enqueue=enqueue)) == [{_LR: 0.042}, {_LR: 0.05}, {_LR: 0.042}]
    # What it has all of is not given to it again, wherever the trials stand by then.
    study.ask()
    assert len(_queued(_begun(planned(enqueue=enqueue), enqueue=enqueue))) == 3
    assert len(_queued(_begun(planned()))) == 3


def test_what_is_wanted_besides_comes_next(planned: Planned) -> None:
    _begun(planned())
    study = _begun(planned(enqueue=[{_LR: 0.02}]), enqueue=[{_LR: 0.02}])
    assert _queued(study) == [{_LR: 0.02}]


def test_nothing_is_begun_with_what_is_not_there(planned: Planned, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(StorageError, match="there is no store"):
            planned(from_experiment="nope")
    assert not (tmp_path / "runs").exists()


def test_a_copied_trial_is_copied_once(planned: Planned) -> None:
    _finish(_begun(planned(study_name="before")), 3)
    wish = {"from_study": "before", "study_name": "after"}
    study = _begun(planned(**wish), **wish)
    assert len(study.trials) == 4
    study.set_user_attr(BEGUN, json.dumps({}))
    assert len(_begun(planned(**wish), **wish).trials) == 4


# --- several at once, and others' studies ---------------------------------------------------------


def test_two_commands_that_begin_at_once_share_a_study(planned: Planned) -> None:
    enqueue = [{_LR: 0.042}]
    both = [planned(enqueue=enqueue) for _ in range(2)]
    assert [made.study for made in both] == [None, None]
    first, second = (_begun(made, enqueue=enqueue) for made in both)
    assert first.study_name == second.study_name
    assert _queued(second) == enqueue


def test_two_commands_of_one_name_that_differ(planned: Planned) -> None:
    first, second = planned(study_name="s"), planned("optimizer.lr=0.1,0.2", study_name="s")
    _begun(first)
    with pytest.raises(ConfigError, match=r"with another space \(optimizer.lr\)"):
        _begun(second)


@pytest.mark.parametrize("kind", ["attribute", "metric", "trial"])
def test_somebody_elses_study_is_left_alone(kind: str, planned: Planned, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'f.db'}"
    theirs = optuna.create_study(study_name="mine", storage=url)
    if kind == "attribute":
        theirs.set_user_attr("notes", "years of work")
    elif kind == "metric":
        theirs._storage.set_study_system_attr(theirs._study_id, "study:metric_names", ["loss"])
    else:
        theirs.enqueue_trial({"x": 1.0})
    with pytest.raises(ConfigError, match="the study 'mine' was not made by dlframe"):
        planned(study_name="mine", storage=url)
    assert optuna.load_study(study_name="mine", storage=url).user_attrs == theirs.user_attrs


def test_a_study_whose_command_was_killed_at_once_is_begun(
    planned: Planned, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'f.db'}"
    optuna.create_study(study_name="s", storage=url, direction="maximize")
    made = planned(study_name="s", storage=url)
    assert made.study is None
    assert optuna.get_all_study_names(url) == ["s"]
    assert DEFINITION in _begun(made, study_name="s", storage=url).user_attrs
    optuna.create_study(study_name="t", storage=url, direction="minimize")
    with pytest.raises(ConfigError, match="'t' exists, without trials, and is to minimize"):
        _begun(planned(study_name="t", storage=url), study_name="t", storage=url)


def test_a_sampler_that_cannot_search_the_space_is_refused(planned: Planned) -> None:
    with pytest.raises(ConfigError, match=r"a grid needs values to count, and optimizer\.lr is"):
        planned("optimizer.lr=interval(0.1,1)", sampler="grid")


def test_a_plan_makes_no_file(planned: Planned, tmp_path: Path) -> None:
    planned(storage=f"sqlite:///{tmp_path / 'f.db'}")
    planned(fresh=True)
    assert list(tmp_path.iterdir()) == []


def test_workers_of_another_machine_are_not_joined_on_a_file(planned: Planned) -> None:
    study = _begun(planned())
    sign = {"host": "elsewhere", "pid": 1, "started": 0.0, "beat": 1, "ended": False}
    study.set_user_attr(f"{WORKER}elsewhere-1-ab", {**sign, "at": 4e9})
    with pytest.raises(ConfigError, match="a journal file serves one machine, and elsewhere works"):
        _begun(planned())


# --- names ----------------------------------------------------------------------------------------


def test_the_same_command_goes_on_with_the_study_begun_last(
    planned: Planned, tmp_path: Path
) -> None:
    _begun(planned(study_name="s"))
    for number in (2, 3):
        made = planned(study_name="s", fresh=True)
        assert (made.definition.name, made.study) == (f"s-{number}", None)
        _begun(made, fresh=True)
        again = planned(study_name="s")
        assert again.definition.name == f"s-{number}"
        assert again.study is not None
    assert planned(study_name="s-2").definition.base == "s"
    # A folder that is left is not written into.
    (tmp_path / "runs" / "studies" / "s-7").mkdir()
    assert planned(study_name="s", fresh=True).definition.name == "s-8"


def test_a_study_that_its_user_named_so_is_another(planned: Planned) -> None:
    _begun(planned(study_name="s"))
    _begun(planned(study_name="s-2"))
    assert planned(study_name="s").definition.name == "s"
    assert planned(study_name="s", fresh=True).definition.name == "s-3"


def test_the_first_of_a_name_needs_no_number(planned: Planned) -> None:
    assert planned(study_name="s", fresh=True).definition.name == "s"


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".hidden", "", "-s", "a\\b", "a\nb", " a", "x" * 201]
)
def test_what_is_no_name(name: str, planned: Planned) -> None:
    with pytest.raises(ConfigError, match="a study's name is that of a folder"):
        planned(study_name=name or " ")


@pytest.mark.parametrize("name", ["exp#1", "a?b=c", "100% [x]", "größer"])
def test_a_name_may_hold_what_an_address_may_not(
    name: str, planned: Planned, tmp_path: Path
) -> None:
    _begun(planned(study_name=name))
    assert (tmp_path / "runs" / "studies" / name / "journal.log").is_file()
    assert planned(study_name=name).study is not None


def test_how_runs_are_recorded_makes_no_other_study(planned: Planned) -> None:
    _begun(planned(_SPACE, "activation=relu", "tracking.experiment=a"))
    again = planned("tracking.log_model=false", "tracking.experiment=a", "activation=relu", _SPACE)
    assert again.study is not None
    assert planned(_SPACE, "activation=relu", "tracking.experiment=b").study is None


def test_the_password_of_a_server_is_no_part_of_a_study(planned: Planned) -> None:
    _begun(planned(_SPACE, "tracking.uri=http://me:old@127.0.0.1:9"))
    assert planned(_SPACE, "tracking.uri=http://me:new@127.0.0.1:9").study is not None


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        (("tracking.experiment=b",), {}, "with tracking.experiment=a instead of tracking.experiment=b"),
        (("tracking.experiment=a", "seed=2"), {}, "'s' exists without seed=2, which would mix"),
        (("tracking.experiment=a", "activation=relu,tanh"), {}, r"with another space \(activation\)"),
        (("tracking.experiment=a",), {"seeds": 2}, "with 1 seeds a trial instead of 2"),
        (("tracking.experiment=a",), {"objective": "val/loss"}, "to maximize val/accuracy instead"),
        (("tracking.experiment=a",), {"constraints": ["val/loss <= 1"]}, "with other constraints"),
    ],
)  # fmt: skip
def test_what_is_another_study_is_named(
    words: tuple[str, ...], options: dict[str, Any], said: str, planned: Planned
) -> None:
    _begun(planned(_SPACE, "tracking.experiment=a", study_name="s"))
    with pytest.raises(ConfigError, match=said):
        planned(_SPACE, *words, study_name="s", **options)


# --- the user's own files -------------------------------------------------------------------------


def _preset(folder: Path, hidden: int) -> None:
    place = folder / "experiment"
    place.mkdir(parents=True, exist_ok=True)
    (place / "mine.yaml").write_text(f"# @package _global_\narchitecture:\n  hidden: [{hidden}]\n")


def _hidden(definition: Definition) -> list[int]:
    composer = Composer(Path(definition.config_dir or "/nowhere"))
    return list(composer([*definition.fixed, "optimizer.lr=0.01"])["architecture"]["hidden"])


def test_edits_of_the_users_files_reach_no_trial_of_a_study(
    planned: Planned, tmp_path: Path
) -> None:
    own = tmp_path / "conf"
    _preset(own, 8)
    words = (_SPACE, "experiment=mine")
    first = planned(*words, config_dir=own)
    _begun(first)
    assert not first.edited
    assert not planned(*words, config_dir=own).edited
    _preset(own, 128)
    again = planned(*words, config_dir=own)
    assert again.study is not None
    assert again.edited
    assert list(again.config["architecture"]["hidden"]) == [8]
    study = _begun(again)
    assert _hidden(Definition.from_json(study.user_attrs[DEFINITION])) == [8]
    anew = planned(*words, config_dir=own, fresh=True)
    _begun(anew, fresh=True)
    assert (anew.edited, list(anew.config["architecture"]["hidden"])) == (False, [128])
    assert _hidden(anew.definition) == [128]


def test_no_more_than_what_hydra_reads_is_kept(planned: Planned, tmp_path: Path) -> None:
    _preset(tmp_path, 8)  # the folder in which the runs lie, too
    for name in ("data.csv", ".hidden/a.yaml", "env/pyvenv.cfg", "env/b.yaml", "data/c.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    (tmp_path / "round").symlink_to(tmp_path)
    _begun(planned(config_dir=tmp_path, study_name="first"))
    made = planned(config_dir=tmp_path, study_name="second")
    assert sorted(made.files) == ["data/c.yaml", "experiment/mine.yaml"]


def test_a_worker_that_does_not_see_the_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"kept in '.*/config', which is not there; a worker on"):
        Composer(tmp_path / "config")


# --- the rest of the definition -------------------------------------------------------------------


@pytest.mark.parametrize("text", ["cost/paramters <= 1e5", "val/acuracy >= 0.5"])
def test_a_constraint_on_what_no_run_logs(text: str, planned: Planned) -> None:
    with pytest.raises(ConfigError, match=r"did you mean '(cost/parameters|val/accuracy)'"):
        planned(constraints=[text])
    _begun(planned(study_name="s"))
    with pytest.raises(ConfigError, match=r"which the constraint .* is about"):
        planned(study_name="s", constraints=[text])


def test_constraints_on_what_runs_log(planned: Planned) -> None:
    texts = ["cost/parameters <= 1e5", "val/loss < 1", "best/val_accuracy >= 0.1"]
    assert planned(constraints=texts).definition.constraints == tuple(texts)


def test_the_usual_pruner_fits_what_trials_report(planned: Planned) -> None:
    def pruner(*words: str, **options: Any) -> Any:
        found = planned(_SPACE, *words, **options).definition.pruner
        return found and found.component

    assert pruner("trainer.max_epochs=30") == "dlframe/power_law"
    assert pruner("trainer.max_epochs=1") is None
    assert pruner(seeds=3) == "dlframe/median"  # a step is a seed, and no curve
    assert pruner(seeds=3, objective="cost/parameters") == "dlframe/median"
    assert pruner(objective="cost/parameters") is None
    assert pruner(seeds=3, objective=["val/loss", "cost/parameters"]) is None


def test_epochs_are_counted_by_the_numbers_that_reports_have(planned: Planned) -> None:
    made = planned(_SPACE, "trainer.max_epochs=30", "trainer.eval_every=3").definition
    assert made.epochs == 30


def test_folds_are_runs_of_a_trial_wherever_they_are_set(planned: Planned, tmp_path: Path) -> None:
    def found(*words: str, **options: Any) -> tuple[int, Any]:
        made = planned(_SPACE, "trainer.max_epochs=30", *words, **options).definition
        return made.folds, made.pruner and made.pruner.component.rpartition("/")[2]

    assert found() == (1, "power_law")
    assert found("data.folds=5") == (5, "median")  # a step is a fold
    assert found("data.folds=5", "data.fold=2") == (1, "power_law")
    place = tmp_path / "conf" / "experiment"
    place.mkdir(parents=True)
    (place / "mine.yaml").write_text("# @package _global_\ndata:\n  folds: 4\n")
    assert found("experiment=mine", config_dir=tmp_path / "conf") == (4, "median")


def test_the_number_of_folds_is_not_searched(planned: Planned) -> None:
    with pytest.raises(
        ConfigError, match=r"^data.folds is not searched, since a trial is the mean"
    ):
        planned(_SPACE, "data.folds=3,5")


def test_a_definition_is_read_as_it_was_written(planned: Planned) -> None:
    made = planned(study_name="s", constraints=["val/loss <= 1"])
    assert Definition.from_json(made.definition.to_json()) == made.definition
    assert made.definition.goals == (Goal("val/accuracy", "maximize"),)


def test_the_journal_is_its_owners(planned: Planned, tmp_path: Path) -> None:
    _begun(planned(study_name="s"))
    journal = Path(journal_of("s", tmp_path / "runs").removeprefix("journal://"))
    assert oct(journal.stat().st_mode & 0o777) == "0o600"
