"""The figures of a study as files, and the page that shows them with its tables."""

import io
from collections.abc import Iterator
from pathlib import Path

import optuna
from matplotlib.figure import Figure

from dlframe.errors import StorageError
from dlframe.sweep.course import history_figure, learning_figure, timeline_figure
from dlframe.sweep.importance import Importances, importances
from dlframe.sweep.landscape import (
    front_figure,
    importances_figure,
    parallel_figure,
    slices_figure,
)
from dlframe.sweep.page import Drawn, page
from dlframe.sweep.results import write_results
from dlframe.sweep.snapshot import Snapshot, taken
from dlframe.tracking.whole import write_whole

__all__ = ["FIGURES", "REPORT", "draw", "export"]

REPORT, FIGURES = "report.html", "figures"
_DPI = 120


def export(study: optuna.Study | Snapshot, folder: Path) -> list[Path]:
    """Write all that there is to see of a study: results, figures and the page.

    Args:
        study: the study.
        folder: where the files go; those of an earlier time are replaced.

    Raises:
        StorageError: they cannot be written.
    """
    found = taken(study)
    return [*write_results(found, folder), *draw(found, folder)]


def draw(study: optuna.Study | Snapshot, folder: Path) -> list[Path]:
    """Draw a study.

    Args:
        study: the study.
        folder: where ``report.html`` goes, and a folder ``figures`` with what is in it as PNG files;
            those of an earlier time are replaced.

    Returns:
        The files.

    Raises:
        StorageError: they cannot be written.
    """
    found = taken(study)
    shares = importances(found)
    drawn = list(_figures(found, shares))
    paths = [folder / FIGURES / f"{each.name}.png" for each in drawn]
    try:
        (folder / FIGURES).mkdir(parents=True, exist_ok=True)
        for each, path in zip(drawn, paths, strict=True):
            image = io.BytesIO()
            each.figure.savefig(image, dpi=_DPI, bbox_inches="tight")
            write_whole(path, image.getvalue())
        write_whole(folder / REPORT, page(found, drawn, shares))
    except OSError as error:
        raise StorageError(
            f"the figures of the study {found.name!r} cannot be written to {str(folder)!r} "
            f"({error.strerror}); choose another folder with `dlframe study export {found.name} --out "
            "FOLDER`"
        ) from error
    return [*paths, folder / REPORT]


def _figures(found: Snapshot, shares: Importances | None) -> Iterator[Drawn]:
    goals = found.definition.goals
    made: list[tuple[str, str, str, Figure | None]] = [
        ("pareto_front", "Goals against each other", "", front_figure(found)),
        ("history", "Values in the order of the trials", "", history_figure(found)),
        (
            "learning_curves",
            "Learning curves",
            "A cross is where a trial was ended early.",
            learning_figure(found),
        ),
        (
            "importances",
            "What decided",
            "How differently the best trials are spread over a dimension than all are (PED-ANOVA); "
            "trials that were ended early do not count.",
            importances_figure(shares) if shares else None,
        ),
        (
            "parallel_coordinates",
            "Settings and result",
            "Each completed trial is a line.",
            parallel_figure(found, shares.shares if shares else {}),
        ),
    ]
    for place, goal in enumerate(goals):
        title = "Result over each dimension"
        made.append(
            (
                "slices" if place == 0 else f"slices_{place + 1}",
                title if len(goals) == 1 else f"{title}: {goal.metric}",
                "",
                slices_figure(found, place),
            )
        )
    made.append(("timeline", "Workers", "", timeline_figure(found)))
    for name, title, said, figure in made:
        if figure is not None:
            yield Drawn(name, title, said, figure)
