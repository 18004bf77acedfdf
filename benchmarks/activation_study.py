"""Table and figure of an activation study: accuracy and the first layer's gradient, by depth.

Reads what `dlframe train -m experiment=activation_study ...` has recorded (docs/results has the whole
command): the test accuracy, and the gradient norm of the first layer at the very first step.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure

from dlframe.analysis.chosen import read_chosen
from dlframe.analysis.drawing import PALETTE, plain
from dlframe.analysis.runs import RunData

Key = tuple[str, str, int]
"""Normalization, activation, depth."""
_FLOOR = 1e-20


def gathered(root: Path) -> dict[Key, dict[str, RunData]]:
    """Return the finished runs by what was varied, and by seed."""
    chosen, _ = read_chosen((), root=root, uri=None, experiment="activation_study")
    found: dict[Key, dict[str, RunData]] = defaultdict(dict)
    for run in chosen.runs:
        if run.status == "FINISHED" and "test/accuracy" in run.metrics:
            depth = len(json.loads(run.params["architecture.hidden"]))
            key = run.params["architecture.normalization"], run.params["activation"], depth
            found[key].setdefault(run.params["seed"], run)
    return dict(found)


def first_gradient(run: RunData) -> float:
    """Return the norm of the first layer's gradient at the first step."""
    return run.curve("layers/grad_norm_first")[0][1]


def tabulated(found: dict[Key, dict[str, RunData]]) -> str:
    """Return a Markdown table: mean and standard deviation over seeds."""
    lines = [
        "| normalization | activation | depth | seeds | test accuracy | first layer's gradient, step 1 "
        "| dead units, end |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (normalization, activation, depth), runs in sorted(found.items()):
        accuracies = [run.metrics["test/accuracy"] for run in runs.values()]
        spread = f" ± {stdev(accuracies):.3f}" if len(accuracies) > 1 else ""
        dead = mean(run.metrics["layers/dead"] for run in runs.values())
        gradient = mean(map(first_gradient, runs.values()))
        lines.append(
            f"| {normalization} | {activation} | {depth} | {len(runs)} "
            f"| {mean(accuracies):.3f}{spread} | {gradient:.1e} | {dead:.2f} |"
        )
    return "\n".join(lines)


def drawn(found: dict[Key, dict[str, RunData]]) -> Figure:
    """Draw accuracy and gradient over depth, a line for each activation."""
    kinds = sorted({key[0] for key in found}, reverse=True)
    figure = Figure(figsize=(8.4, 5.6), layout="constrained")
    panels = figure.subplots(2, len(kinds), sharex=True, sharey="row", squeeze=False)
    names = list(dict.fromkeys(key[1] for key in found))
    for column, kind in enumerate(kinds):
        for name, colour in zip(names, PALETTE * len(names), strict=False):
            depths = sorted(key[2] for key in found if key[:2] == (kind, name))
            groups = [list(found[kind, name, depth].values()) for depth in depths]
            accuracy = [mean(run.metrics["test/accuracy"] for run in runs) for runs in groups]
            gradient = [max(_FLOOR, mean(map(first_gradient, runs))) for runs in groups]
            for axes, values in zip(panels[:, column], (accuracy, gradient), strict=True):
                axes.plot(depths, values, "o-", color=colour, ms=4, lw=1.5, label=name)
        panels[0, column].set_title(f"normalization: {kind}")
        panels[1, column].set(xlabel="hidden layers", yscale="log", xticks=[2, 8, 20])
    panels[0, 0].set_ylabel("test accuracy")
    panels[1, 0].set_ylabel("gradient norm of the\nfirst layer, first step")
    for axes in panels.flat:
        plain(axes, "both")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def main() -> None:
    """Print the table; write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--figure", type=Path, default=Path("activation_study.png"))
    arguments = parser.parse_args()
    found = gathered(arguments.root)
    print(tabulated(found))
    drawn(found).savefig(arguments.figure, dpi=90)


if __name__ == "__main__":
    main()
