"""What tells whether files are still what they were: hashes of small ones, size and time of others."""

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from dlframe.tracking.redaction import holds_secrets

__all__ = ["fingerprints"]

_LARGE = 8_000_000
_MOST_BYTES = 32_000_000


def fingerprints(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Return a fingerprint of each file: the SHA-256 of what it holds, or else its size and time.

    Size and time, which git goes by too, have to do for large files, for all after the first 32 MB,
    and for those whose names promise secrets: a hash would tell whoever guesses the secret that the
    guess is right.

    Args:
        root: the folder that the names are relative to.
        names: names of files; those that are gone by now are left out.
    """
    found: dict[str, str] = {}
    left = _MOST_BYTES
    for name in names:
        path = root / name
        try:
            facts = path.lstat()
            small = stat.S_ISREG(facts.st_mode) and facts.st_size <= min(_LARGE, left)
            if stat.S_ISLNK(facts.st_mode):
                found[name] = f"link {_hash(os.fsencode(path.readlink()))}"
            elif small and not holds_secrets(name):
                found[name] = _hash(path.read_bytes())
                left -= facts.st_size
            else:
                found[name] = f"{facts.st_size} bytes, {facts.st_mtime_ns} ns"
        except FileNotFoundError:
            continue
        except OSError as error:
            found[name] = f"unreadable ({error.strerror})"
    return found


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
