"""``dlframe train +from=<name>``: the best of a study, or another run's weights."""

from pathlib import Path

from dlframe.errors import ConfigError, RunNotFoundError, did_you_mean

__all__ = ["begun_from"]


def begun_from(overrides: list[str]) -> tuple[list[str], Path | None]:
    """Replace ``+from=<study>`` by its best trial, ``+from=<run>`` by the run's whole id.

    Returns:
        The overrides, and the YAML files that the study keeps; None for none.

    Raises:
        ConfigError: the name is neither, or both, or there are several.
    """
    words = [word for word in overrides if word.lstrip("+").startswith("from=")]
    if not words:
        return overrides, None
    from dlframe.config.overrides import parse

    if len(words) > 1:
        raise ConfigError(
            f"a run begins from one study or run; got {' and '.join(words)}: to train the best of a "
            "study with a run's weights, give these as transfer.run=<id>"
        )
    rest = [word for word in overrides if word not in words]

    def given(option: str) -> str | None:
        found = [word for word in rest if word.lstrip("+").startswith(f"{option}=")]
        return str(parse(found[-1]).value()) if found else None

    name = words[0].partition("=")[2]  # as it is: a study's name may have what overrides may not
    if "," in name:
        raise ConfigError(
            f"+from takes one name; got {words[0]}: give several runs as transfer.run=<id>,<id>"
        )
    root = Path(given("tracking.root") or "runs")
    storage = given("hydra.sweeper.storage")
    run = _run_or_study(name, root, given("tracking.uri"), storage)
    if run is not None:
        if given("transfer.run") is not None:
            raise ConfigError(
                f"the run to begin with is given twice; leave out {words[0]} or transfer.run"
            )
        return [f"transfer.run={run}", *rest], None
    return _of_study(name, rest, root, storage)


def _run_or_study(name: str, root: Path, uri: str | None, storage: str | None) -> str | None:
    """Return the whole id of the run that ``name`` selects; None where that is a study."""
    from dlframe.sweep.storage import study_names
    from dlframe.tracking.runs import find_folder, find_run

    known = study_names(root, storage)
    studies = [study for study in known if study.startswith(name)]
    if not studies:
        try:
            return find_run(name, root, uri).id
        except RunNotFoundError as error:
            near = did_you_mean(name, known)
            raise ConfigError(f"{near}no study is called {name!r}, and {error}") from error
    try:
        run = find_folder(name, root).name
    except RunNotFoundError:
        return None
    raise ConfigError(
        f"{name!r} is both the study {studies[0]!r} and the run {run!r}; give transfer.run={run} to "
        f"begin with the run's weights, or what `dlframe study best {studies[0]}` prints"
    )


def _of_study(
    name: str, rest: list[str], root: Path, storage: str | None
) -> tuple[list[str], Path | None]:
    """Return the overrides of a study's best trial, those of the command line coming before them."""
    from dlframe.cli.train_sweep import best_of

    found, config_dir = best_of(name, root, storage)
    own = {word.partition("=")[0].lstrip("+") for word in rest}
    kept = [word for word in found if word.partition("=")[0].lstrip("+") not in own]
    given = [word for word in rest if not word.startswith("hydra.sweeper.storage=")]
    return [*kept, *given], config_dir
