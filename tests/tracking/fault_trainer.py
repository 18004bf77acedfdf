"""A training of the fault matrix: logs 20 values a step and writes down what it has logged."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main(order: dict[str, Any]) -> None:
    ledger = os.open(order["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(**line: Any) -> None:
        os.write(ledger, (json.dumps(line) + "\n").encode())

    begin = time.perf_counter()
    log, finish = (_dlframe if order["logger"] == "dlframe" else _lightning)(order)
    note(held=time.perf_counter() - begin)
    for step in range(order["steps"]):
        values = {f"train/m{i}": step + i / 20 for i in range(20)}
        begin = time.perf_counter()
        try:
            log(values, step)
        except BaseException:
            note(held=time.perf_counter() - begin)
            raise
        note(step=step, seconds=time.perf_counter() - begin, clock=time.time())
        end = time.perf_counter() + order["pause"]
        while time.perf_counter() < end:  # busy, as a training is
            pass
    begin = time.perf_counter()
    finish()
    note(held=time.perf_counter() - begin)


def _dlframe(order: dict[str, Any]) -> tuple[Any, Any]:
    from dlframe.tracking.recorder import Recorder

    recorder = Recorder(
        Path(order["root"]), uri=order["uri"] or None, experiment=order["experiment"],
        run_name=order["run_name"],
    )  # fmt: skip

    def finish() -> None:
        recorder.finish("FINISHED")
        delivery = recorder.wait(order["wait"])
        print(delivery.note or "delivered", flush=True)

    return recorder.metrics, finish


def _lightning(order: dict[str, Any]) -> tuple[Any, Any]:
    from lightning.pytorch.loggers import MLFlowLogger

    logger = MLFlowLogger(
        experiment_name=order["experiment"], tracking_uri=order["uri"], run_name=order["run_name"],
        synchronous=order["logger"] == "mlflow",
    )  # fmt: skip
    return logger.log_metrics, lambda: logger.finalize("success")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
