"""One process of a training on several devices: ``python -m dlframe.training.rank FOLDER``."""

import os
import sys
import traceback
from pathlib import Path

__all__: list[str] = []


def _main(place: Path) -> int:
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
