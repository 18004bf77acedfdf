"""Which images a folder holds, of which class, and in which part."""

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dlframe.errors import DataError

__all__ = ["SUFFIXES", "Listing", "images_below", "list_folder"]

SUFFIXES = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
_PARTS: Mapping[str, str] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of a folder, in the order of their names.

    Args:
        root: the folder.
        files: names relative to it, with ``/`` between folders; those of ``train`` first, then those
            of ``val`` and ``test``.
        labels: index of each file's class; empty where there are no classes.
        class_names: names of the classes, sorted.
        parts: each file's part: ``train``, ``val`` or ``test``; empty where the folder has no parts.
    """

    root: Path
    files: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    parts: tuple[str, ...]


def list_folder(root: Path) -> Listing:
    """Find the images of ``root``: in a folder for each class, or without classes.

    With a folder ``train`` and no others but ``val`` and ``test`` beside it, these are the parts, and
    classes are folders in them. Hidden files and files of other kinds are passed over. A class folder
    without images is told in the log, and is no class.

    Raises:
        DataError: there is no such folder, it holds no image, or images beside class folders.
    """
    if not root.is_dir():
        kind = "a file" if root.exists() else "no folder"
        raise DataError(f"{kind} is at {str(root)!r}; give the folder of the images as data.root")
    found: list[tuple[str, str, str]] = []  # part, class, name
    loose: dict[str, int] = {}
    for part, folder in _parts(root):
        inner = [child for child in _children(folder) if child.is_dir()]
        images = [child for child in _children(folder) if _is_image(child)]
        for child in inner:
            names = list(images_below(child))
            found += [
                (part, child.name, f"{child.relative_to(root).as_posix()}/{n}") for n in names
            ]
            if not names:
                _log.warning("the folder %s holds no images, and is no class", child)
        if images:
            loose[part or root.name] = len(images)
            found += [(part, "", child.relative_to(root).as_posix()) for child in images]
    if not found:
        raise DataError(
            f"the folder {str(root)!r} holds no images ({', '.join(SUFFIXES)}); put them there, in a "
            "folder for each class"
        )
    names = sorted({name for _, name, _ in found} - {""})
    if names and loose:
        where, count = next(iter(loose.items()))
        raise DataError(
            f"images must all lie in class folders, or none; {count} lie beside them in {where!r}: "
            "move these into the folder of their class, or out of data.root"
        )
    found.sort(key=lambda each: (("", "train", "val", "test").index(each[0]), each[1], each[2]))
    number = {name: i for i, name in enumerate(names)}
    return Listing(
        root=root,
        files=tuple(name for _, _, name in found),
        labels=tuple(number[name] for _, name, _ in found) if names else (),
        class_names=tuple(names),
        parts=tuple(part for part, _, _ in found) if found[0][0] else (),
    )


def images_below(folder: Path) -> Iterator[str]:
    """Yield the names of all images in a folder and those within, relative to it, sorted."""
    names = []
    for place, inner, files in os.walk(folder):
        inner[:] = [name for name in inner if not _is_hidden(name)]
        here = Path(place)
        names += [
            (here / name).relative_to(folder).as_posix()
            for name in files
            if Path(name).suffix.lower() in SUFFIXES and not _is_hidden(name)
        ]
    yield from sorted(names)


def _parts(root: Path) -> list[tuple[str, Path]]:
    folders = [child for child in _children(root) if child.is_dir()]
    if not any(child.name == "train" for child in folders):
        return [("", root)]
    if any(child.name not in _PARTS for child in folders):  # it is a class called "train"
        return [("", root)]
    parts = [(_PARTS[child.name], child) for child in folders]
    if len({part for part, _ in parts}) < len(parts):
        raise DataError(
            f"a part needs one folder; {str(root)!r} has "
            f"{', '.join(repr(child.name) for _, child in parts)}: keep one of the validation folders"
        )
    return parts


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if not _is_hidden(child.name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()
