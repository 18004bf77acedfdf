"""Checkpoints on disk: whole or known to be broken, whatever happened to the process or the file."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dlframe.errors import CheckpointError
from dlframe.training.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    WholeCheckpointIO,
    check,
    newest,
    read,
)


def write(folder: Path, name: str, number: int) -> None:
    writer = WholeCheckpointIO()
    writer.save_checkpoint({"number": torch.full((2000,), number)}, folder / name)
    writer.wait()


def number_in(path: Path) -> int:
    return int(read(path)["number"][0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A best checkpoint and three generations of the last, of which two are kept."""
    write(tmp_path, BEST, 7)
    for number in range(3):
        write(tmp_path, LAST, number)
    return tmp_path


def test_two_generations_are_kept(folder: Path) -> None:
    assert [number_in(folder / name) for name in (LAST, PREVIOUS, BEST)] == [2, 1, 7]
    assert newest(folder) == (folder / LAST, [])
    names = {path.name for path in folder.iterdir()}
    assert names == {BEST, LAST, PREVIOUS, "manifest.json"}


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.rindex(torch.full((2000,), 2).numpy().tobytes()) + 8 * 1000
    content[place] ^= 1
    path.write_bytes(bytes(content))
    assert int(torch.load(path, weights_only=True)["number"][1000]) == 3, "torch notices nothing"


def _zero(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(bytes(4096))


def _swap(path: Path) -> None:
    shutil.copyfile(path.with_name(BEST), path)


@pytest.mark.parametrize("damage", [_truncate, _empty, _flip, _zero, _swap])
def test_a_damaged_file_is_named_and_the_older_one_used(
    folder: Path, damage: Callable[[Path], None]
) -> None:
    damage(folder / LAST)
    with pytest.raises(CheckpointError, match=r"last\.ckpt' is damaged: its SHA-256 is not"):
        read(folder / LAST)
    path, said = newest(folder)
    assert path == folder / PREVIOUS
    assert [sentence.partition("'")[2].partition("'")[0] for sentence in said] == [
        str(folder / LAST)
    ]
    _truncate(folder / PREVIOUS)
    assert newest(folder)[0] is None


def test_a_file_that_is_gone_is_no_damage(folder: Path) -> None:
    (folder / LAST).unlink()
    assert newest(folder) == (folder / PREVIOUS, [])
    with pytest.raises(CheckpointError, match="is missing"):
        check(folder / LAST)


@pytest.mark.parametrize("content", ["{", '"x"', '{"last.ckpt": 3}'])
def test_a_damaged_manifest_is_said(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"list of checkpoints .* is damaged"):
        check(folder / BEST)
    with pytest.raises(CheckpointError, match="remove it to use the checkpoints unchecked"):
        newest(folder)  # whoever goes on must not begin anew over two good files
    write(folder, LAST, 3)  # a training that runs goes on nevertheless
    assert number_in(folder / LAST) == 3


def test_without_manifest_the_newest_that_can_be_read_is_used(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    assert newest(folder) == (folder / LAST, [])
    _truncate(folder / LAST)
    path, (said,) = newest(folder)
    assert path == folder / PREVIOUS
    assert "cannot be read" in said
    write(folder, LAST, 3)  # the new manifest knows this one alone
    assert number_in(folder / BEST) == 7


def test_exchanged_generations_are_noticed(folder: Path) -> None:
    (folder / LAST).rename(folder / "other")
    (folder / PREVIOUS).rename(folder / LAST)
    (folder / "other").rename(folder / PREVIOUS)
    path, said = newest(folder)
    assert path is None
    assert len(said) == 2


def test_a_foreign_file_without_manifest_is_not_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"state_dict": Evil()}, tmp_path / BEST)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(tmp_path / BEST)
    assert not (tmp_path / "executed").exists()


def test_killed_at_any_moment_of_writing_a_whole_checkpoint_remains(tmp_path: Path) -> None:
    draw = random.Random(0)
    reached = -1
    write(tmp_path, LAST, reached)
    for _ in range(20):
        stamp = (tmp_path / LAST).stat().st_ino
        child = os.fork()
        if child == 0:
            number = reached
            while True:
                number += 1
                write(tmp_path, LAST, number)
                write(tmp_path, BEST, number)
        end = time.monotonic() + 60
        while (tmp_path / LAST).stat().st_ino == stamp and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert newest(tmp_path) == (tmp_path / LAST, [])
        assert number_in(tmp_path / LAST) >= reached
        reached = number_in(tmp_path / LAST)
        if (tmp_path / BEST).exists():
            check(tmp_path / BEST)
    assert reached > 0
