"""The parser that all commands but ``train`` use: help that ends with commands to copy."""

import argparse
import textwrap

__all__ = ["command_parser"]

_WIDTH = 96


def command_parser(name: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """Return a parser for ``dlframe <name>``.

    Args:
        name: the command.
        description: what it does, in a sentence or two.
        examples: arguments worth trying, each printed on a line of its own.
    """
    lines = [f"  dlframe {name} {example}".rstrip() for example in examples]
    return argparse.ArgumentParser(
        prog=f"dlframe {name}",
        description=textwrap.fill(description, _WIDTH),
        epilog="\n".join(["examples:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
