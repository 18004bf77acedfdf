"""What a user sees of the recorded runs in MLflow's pages, in a real browser.

The screenshots stay in the folder that DLFRAME_TEST_SCREENSHOTS names, else in pytest's temporary one.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, chromium
from cli_support import COMMAND, end_delivery, environment, recorded, started
from warm import Forked

# Three trainings, a server and a browser on a machine that may be busy.
pytestmark = pytest.mark.timeout(1800)

WAIT = 250
"""Seconds that a training may wait for its delivery."""
QUICK = (
    "trainer.max_epochs=2", "trainer.limit_train=6", "tracking.log_model=false",
    "tracking.figures=false",
    f"tracking.wait={WAIT}", "--json",
)  # fmt: skip
PARAMS = {
    "architecture": {"single": "cnn", "adam": "mlp", "sgd": "mlp"},
    "optimizer": {"single": "adam", "adam": "adam", "sgd": "sgd"},
    "optimizer.lr": {"single": "0.002", "adam": "0.001", "sgd": "0.01"},
    "seed": {"single": "0", "adam": "7", "sgd": "7"},
}
ROWS = ".ag-pinned-left-cols-container [role=row]"


@dataclass
class Recorded:
    """Three runs, two of them in a multirun, and the server that shows them."""

    single: dict[str, Any]
    adam: dict[str, Any]
    sgd: dict[str, Any]
    parent: str
    names: dict[str, str]
    pages: dict[str, str]

    def all(self) -> list[dict[str, Any]]:
        return [self.single, self.adam, self.sgd]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("place")
    yield folder
    end_delivery(folder / "runs")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    wanted = os.environ.get("DLFRAME_TEST_SCREENSHOTS")
    pictures = Path(wanted) if wanted else tmp_path_factory.mktemp("screenshots")
    pictures.mkdir(parents=True, exist_ok=True)
    with chromium(tmp_path_factory.mktemp("profile"), pictures) as found:
        yield found


@pytest.fixture(scope="module")
def shown(browser: Browser, place: Path) -> Iterator[Recorded]:
    """Train, all at once, and open the user interface; after the browser, which may be missing."""
    training = [
        started("train", "architecture=cnn", "optimizer.lr=0.002", *QUICK, cwd=place),
        started("train", "-m", "optimizer=adam,sgd", "seed=7", *QUICK, cwd=place),
    ]
    lines = [json.loads(line) for each in training for line in _output(each).splitlines()]
    for line in lines:  # a job of a multirun ends before it is delivered
        line["mlflow_run_id"] = _mlflow_id(place, line["run"])
    single, adam, sgd = lines
    server = subprocess.Popen(
        [*COMMAND, "ui", "--json"], cwd=place, env=environment(), text=True, stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        pages = json.loads(server.stdout.readline())
        names = dict(recorded(place / "runs", "SELECT run_uuid, name FROM runs"))
        yield Recorded(single, adam, sgd, adam["parent"], names, pages)
    finally:
        server.terminate()
        server.communicate(timeout=WAIT)
    assert server.returncode == 0


def _output(process: Forked) -> str:
    output, errors = process.communicate(timeout=2 * WAIT)  # it trains, too
    assert process.returncode == 0, errors
    return output


def _mlflow_id(place: Path, uid: str) -> str:
    [(found,)] = recorded(
        place / "runs",
        f"SELECT run_uuid FROM tags WHERE key = 'dlframe.run_uid' AND value = '{uid}'",
    )
    return str(found)


def test_runs_are_nested_and_can_be_compared(
    browser: Browser, place: Path, shown: Recorded
) -> None:
    runs = [each["mlflow_run_id"] for each in shown.all()]
    single, adam, sgd = runs
    parent = _mlflow_id(place, shown.parent)
    browser.open(shown.pages["experiment"], shown.names[single])
    browser.click("button[data-component-id='mlflow.assistant.chat_panel.close']")
    assert _rows(browser) == {parent, single}, "children are folded into their parent at first"
    browser.click(f"{_row(parent)} [col-id*='Run Name'] button")
    browser.wait_for(shown.names[adam], shown.names[sgd])
    assert _rows(browser) == {parent, single, adam, sgd}
    browser.take_picture("runs")

    for run in runs:
        browser.click(f"{_row(run)} .ag-checkbox-input")
    browser.take_picture("selected")
    browser.click("button", "Compare")
    browser.wait_for("Comparing 3 Runs", "Parameters", *(shown.names[run] for run in runs))
    browser.wait_for(_rounded(shown, _order(browser.text()), "test/accuracy"))
    text = browser.text()
    browser.take_picture("compared")
    found, lines = {each["mlflow_run_id"]: each for each in shown.all()}, text.splitlines()
    order = [found[run] for run in _order(text)]
    assert sorted(_order(text)) == sorted(runs)
    for option in ("architecture", "optimizer", "optimizer.lr", "seed"):
        assert f"{option} {' '.join(PARAMS[option][_kind(shown, e)] for e in order)}" in lines
    for metric in ("test/accuracy", "test/loss", "best/val_accuracy"):
        assert _rounded(shown, _order(text), metric) in text


def test_a_runs_page_says_all_of_it(browser: Browser, place: Path, shown: Recorded) -> None:
    run = shown.sgd["mlflow_run_id"]
    [(note,)] = recorded(
        place / "runs",
        f"SELECT value FROM tags WHERE key = 'mlflow.note.content' AND run_uuid = '{run}'",
    )
    headline = note.splitlines()[0].replace("*", "")
    browser.open(_page_of(shown, run), shown.names[run], headline, "Parameters", "Show more")
    text = browser.text()
    for metric in ("test/accuracy", "test/loss"):
        assert f"{metric}\n{shown.sgd['metrics'][metric]}" in text
    for option in ("optimizer", "optimizer.lr", "seed"):
        assert f"{option}\n{PARAMS[option]['sgd']}" in text
    assert f"Parent run\n{shown.names[_mlflow_id(place, shown.parent)]}" in text
    assert f"dlframe train -m optimizer=adam,sgd seed=7 {' '.join(QUICK)}" in text
    browser.take_picture("run")
    browser.click("button", "Show more")
    browser.wait_for(f"dlframe replay {shown.sgd['run']}")
    assert "optimizer sgd adam" in browser.text().splitlines(), "what differs from the defaults"
    browser.take_picture("note")


def _page_of(shown: Recorded, run: str) -> str:
    return shown.pages["experiment"].replace("/runs?", f"/runs/{run}?")


def _order(text: str) -> list[str]:
    """The ids of the compared runs, from left to right."""
    line = next(line for line in text.splitlines() if line.startswith("Run ID:"))
    return line.removeprefix("Run ID:").split()


def _kind(shown: Recorded, run: dict[str, Any]) -> str:
    return next(kind for kind in ("single", "adam", "sgd") if getattr(shown, kind) is run)


def _rounded(shown: Recorded, order: list[str], metric: str) -> str:
    """A row of the comparison, as the page's text has it."""
    values = {each["mlflow_run_id"]: each["metrics"][metric] for each in shown.all()}
    return "\n".join(f"{round(values[run], 3):g}" for run in order)


def _row(run: str) -> str:
    return f"{ROWS}[row-id='{run}']"


def _rows(browser: Browser) -> set[str]:
    return {str(row.get_attribute("row-id")) for row in browser.all(ROWS)}
