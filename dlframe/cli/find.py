"""``dlframe find``: a learning rate, or a batch size, from some steps of training."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlframe.cli.parser import command_parser
from dlframe.cli.train_from import begun_from

if TYPE_CHECKING:
    from dlframe.training.batch_sizes import Speed

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Train some steps, print what they say, and train with it if that is asked for."""
    parser = command_parser(
        "find",
        "Try some steps of the training that `dlframe train` with the same words would run. `lr` "
        "raises the learning rate from step to step, draws the loss over it, and suggests the rate at "
        "which it falls fastest. `batch_size` measures how many rows per second batches of 8, 16, "
        "32, ... give, and on a GPU which of them fit into its memory.",
        "lr architecture=cnn data=digits",
        "lr architecture=cnn --train trainer.max_epochs=20",
        "batch_size architecture=cnn trainer.precision=bf16-mixed",
    )
    parser.add_argument("what", choices=("lr", "batch_size"), help="what to find")
    parser.add_argument("overrides", nargs="*", help="as for `dlframe train`")
    parser.add_argument("--config-dir", "-cd", type=Path, help="a folder of your own YAML files")
    parser.add_argument("--json", action="store_true", help="print JSON")
    rate = parser.add_argument_group("for lr")
    rate.add_argument("--from", type=float, default=1e-7, dest="lowest", help="first rate (1e-7)")
    rate.add_argument("--to", type=float, default=10.0, dest="highest", help="last rate (10)")
    rate.add_argument("--steps", type=int, default=200, help="optimizer steps at most (200)")
    rate.add_argument("--train", action="store_true", help="train with it, and record the figure")
    size = parser.add_argument_group("for batch_size")
    size.add_argument("--least", type=float, default=10.0,
                      help="per cent that a doubling must bring to be worth it (10)")  # fmt: skip
    size.add_argument("--seconds", type=float, default=1.0, help="of each measurement (1)")
    arguments = parser.parse_intermixed_args(argv)
    overrides, kept = begun_from(arguments.overrides)
    folder = arguments.config_dir or kept
    from dlframe.config.compose import compose
    from dlframe.config.validate import validate

    config = validate(compose(overrides, config_dir=folder))
    if arguments.what == "batch_size":
        _find_batch_size(config, arguments)
    else:
        _find_rate(config, overrides, folder, arguments)
    return 0


def _find_rate(
    config: dict[str, Any],
    overrides: list[str],
    config_dir: Path | None,
    arguments: argparse.Namespace,
) -> None:
    from dlframe.tracking.recorder import new_uid
    from dlframe.training.range_test import range_test

    found = range_test(
        config, lowest=arguments.lowest, highest=arguments.highest, steps=arguments.steps
    )
    root = Path(config["tracking"]["root"])
    files = found.save(root / "range_tests" / new_uid())
    # Three digits are more than a suggestion has.
    chosen = f"optimizer.lr={found.suggestion:.3g}"
    if arguments.json and not arguments.train:
        names = ("suggestion", "lowest", "diverged")
        facts = {name: getattr(found, name) for name in names}
        print(json.dumps({**facts, "steps": len(found.rates), "files": list(map(str, files))}))
    else:
        out = sys.stderr if arguments.json else sys.stdout
        end = "diverged" if found.diverged else "ended"
        print(f"suggestion  {chosen}, where the loss falls fastest", file=out)
        print(f"lowest      {found.lowest:.3g}, where it is least; {end} at {found.rates[-1]:.3g}",
              file=out)  # fmt: skip
        print(f"figure      {files[1]}", file=out)
    if arguments.train:
        _train([*overrides, chosen], config_dir, files, as_json=arguments.json)


def _train(
    overrides: list[str], config_dir: Path | None, files: list[Path], *, as_json: bool
) -> None:
    from dlframe.cli.result import report
    from dlframe.config.compose import compose
    from dlframe.training.run import execute

    config = compose(overrides, config_dir=config_dir)
    command = ["dlframe", "train", *overrides]
    report(execute(config, overrides=overrides, command=command, attached=files), as_json=as_json)


def _find_batch_size(config: dict[str, Any], arguments: argparse.Namespace) -> None:
    from dlframe.training.batch_sizes import batch_sizes, saturates

    least, out = arguments.least / 100, sys.stderr if arguments.json else sys.stdout
    found: list[Speed] = []
    print(f"{'batch_size':>10} {'rows/s':>10} {'more':>6} {'GPU memory':>11}", file=out)
    for speed in batch_sizes(config, least=least, seconds=arguments.seconds):
        before = found[-1].samples_per_second if found else None
        now = speed.samples_per_second
        cells = ["does not fit" if now is None else f"{now:,.0f}"]
        cells.append(f"{now / before - 1:+.0%}" if now and before else "")
        cells.append("" if speed.memory is None else f"{speed.memory / 2**20:,.0f} MiB")
        found.append(speed)
        print(
            f"{speed.batch_size:>10} {cells[0]:>10} {cells[1]:>6} {cells[2]:>11}".rstrip(), file=out
        )
    fitting = [speed.batch_size for speed in found if speed.samples_per_second is not None]
    chosen = saturates(found, least) if fitting else None
    full = found[-1].samples_per_second is None
    if arguments.json:
        facts = [
            {"batch_size": s.batch_size, "samples_per_second": s.samples_per_second,
             "memory": s.memory}
            for s in found
        ]  # fmt: skip
        print(json.dumps({"suggestion": chosen, "largest": fitting[-1] if full and fitting else None,
                          "sizes": facts}))  # fmt: skip
        return
    if chosen is None:
        print("memory does not suffice for the smallest batch; choose a smaller network")
        return
    print(f"suggestion  data.batch_size={chosen}: doubling it brings less than {arguments.least:g} % "
          "more rows per second, or was not tried")  # fmt: skip
    if full:
        print(
            f"largest     data.batch_size={fitting[-1]} fits into memory, and twice as much does not"
        )
