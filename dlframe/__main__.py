"""``python -m dlframe`` is ``dlframe``."""

from dlframe.cli.main import entry_point

if __name__ == "__main__":
    entry_point()
