"""One process of a training on several devices: ``python -m dlframe.training.rank FOLDER``."""

import ctypes
import os
import signal
import sys
import traceback
from pathlib import Path

__all__: list[str] = []

_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Have Linux end this process when the one that started it is killed and cannot do so itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _main(place: Path) -> int:
    _end_with_parent()
    try:
        # Imported here, so that Ctrl-C during the seconds that it takes ends in silence too.
        from dlframe.training.processes import report_error
        from dlframe.training.run import execute_rank

        try:
            execute_rank(place)
        except Exception as error:
            if os.environ.get("DLFRAME_DEBUG"):
                traceback.print_exc()
            report_error(place, error)
            return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
