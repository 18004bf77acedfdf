"""Folders of images: every kind of file, the cache, and rows to predict."""

import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import dlframe
from dlframe.cli.main import main
from dlframe.components.data import image_cache
from dlframe.components.data.decode import Broken, Form, look, read
from dlframe.components.data.image_folder import ImageFolder
from dlframe.errors import DataError
from dlframe.interfaces import DataOptions
from dlframe.training.splits import load_splits

FORM = Form(channels=3, height=4, width=6, aspect="stretch", max_pixels=10_000)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep decoded images in a folder of the test's own."""
    monkeypatch.setenv("DLFRAME_DATA", str(tmp_path / "home"))
    return tmp_path / "home" / "image_folder"


def colour(path: Path, rgb: tuple[int, int, int], size: tuple[int, int] = (6, 4)) -> Path:
    """Write a PNG of one colour; size is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, rgb).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, three images each, whose brightness says which they are."""
    for number in range(3):
        colour(tmp_path / "images" / "cat" / f"{number}.png", (10 * number, 0, 0))
        colour(tmp_path / "images" / "dog" / f"{number}.png", (10 * number, 200, 0))
    return tmp_path / "images"


def pixels(x: Any) -> NDArray[np.uint8]:
    return np.asarray(x)


# --- one file ---


def halves(mode: str, left: Any, right: Any) -> Image.Image:
    """An image of 6 x 4 pixels, the left half of one colour, the right of another."""
    if mode == "I;16":
        return Image.fromarray(np.repeat(np.array([[left, right]], np.uint16), 3, 1).repeat(4, 0))
    image = Image.new(mode, (6, 4), left)
    image.paste(right, (3, 0, 6, 4))
    return image


@pytest.mark.parametrize(
    ("name", "make", "left", "right"),
    [
        ("rgb.png", lambda: halves("RGB", (9, 8, 7), (1, 2, 3)), (9, 8, 7), (1, 2, 3)),
        ("rgb.bmp", lambda: halves("RGB", (9, 8, 7), (1, 2, 3)), (9, 8, 7), (1, 2, 3)),
        ("grey.png", lambda: halves("L", 70, 90), (70,) * 3, (90,) * 3),
        ("bits.png", lambda: halves("1", 0, 1), (0,) * 3, (255,) * 3),
        ("sixteen.png", lambda: halves("I;16", 256 * 70 + 255, 256 * 90), (70,) * 3, (90,) * 3),
        ("sixteen.tif", lambda: halves("I;16", 256 * 70 + 255, 256 * 90), (70,) * 3, (90,) * 3),
        ("alpha.png", lambda: halves("RGBA", (9, 8, 7, 255), (1, 2, 3, 0)), (9, 8, 7), (255,) * 3),
        ("grey_alpha.png", lambda: halves("LA", (9, 255), (1, 0)), (9,) * 3, (255,) * 3),
        ("palette.gif", lambda: halves("RGB", (255, 0, 0), (0, 0, 255)).quantize(2),
         (255, 0, 0), (0, 0, 255)),
        ("cmyk.tif", lambda: halves("CMYK", (0, 255, 255, 0), (0, 0, 0, 255)), (255, 0, 0), (0,) * 3),
        ("lossless.webp", lambda: halves("RGB", (9, 8, 7), (1, 2, 3)), (9, 8, 7), (1, 2, 3)),
    ],
)  # fmt: skip
def test_any_mode_becomes_bytes_of_red_green_and_blue(
    name: str,
    make: Callable[[], Image.Image],
    left: tuple[int, ...],
    right: tuple[int, ...],
    tmp_path: Path,
) -> None:
    make().save(tmp_path / name, lossless=True)  # which only WebP needs to be told
    found = read(tmp_path / name, FORM)
    assert found.shape == (3, 4, 6)
    assert found.dtype == np.uint8
    assert found[:, 0, 0].tolist() == list(left)
    assert found[:, 3, 5].tolist() == list(right)


def test_a_palette_with_transparency_is_put_on_white(tmp_path: Path) -> None:
    image = halves("P", 0, 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "a.png", transparency=1)
    found = read(tmp_path / "a.png", FORM)
    assert found[:, 0, [0, 5]].T.tolist() == [[255, 0, 0], [255, 255, 255]]


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), shade) for shade in ("red", "blue")]
    for name in ("a.gif", "a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        found = read(tmp_path / name, FORM)
        assert found[0].min() > 250
        assert found[2].max() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_the_camera_was(orientation: int, tmp_path: Path) -> None:
    upright = np.zeros((40, 60), np.uint8)
    upright[:20, :30] = 250  # the upper left quarter is bright
    # What a camera stores so that a viewer who follows the orientation sees it upright.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, quality=95)
    seen = look(path, 10_000)
    assert (seen.height, seen.width, seen.grey) == (40, 60, True)
    found = read(path, Form(1, 40, 60, "stretch", 10_000))[0]
    assert np.abs(found.astype(int) - upright).mean() < 3


@pytest.mark.parametrize(
    ("aspect", "size", "expected"),
    [
        ("stretch", (4, 4), [[200, 200, 0, 0]] * 4),
        ("crop", (4, 2), [[200, 0]] * 4),
        ("pad", (4, 4), [[0] * 4, [200, 200, 0, 0], [200, 200, 0, 0], [0] * 4]),
    ],
)
def test_proportions_are_stretched_cropped_or_padded(
    aspect: Any, size: tuple[int, int], expected: list[list[int]], tmp_path: Path
) -> None:
    wide = np.zeros((80, 160), np.uint8)
    wide[:, :80] = 200
    Image.fromarray(wide).save(tmp_path / "a.png")
    found = read(tmp_path / "a.png", Form(1, *size, aspect, 100_000))[0]
    # Edges mix with their neighbours, by a quarter at most.
    assert np.abs(found.astype(int) - np.array(expected)).max() <= 50
    assert found.shape == size


def test_a_large_jpeg_is_shrunk_as_if_decoded_in_full(tmp_path: Path) -> None:
    draw = np.random.default_rng(0).integers(0, 255, (10, 15, 3), dtype=np.uint8)
    image = Image.fromarray(draw).resize((1200, 800), Image.Resampling.BICUBIC)
    image.save(tmp_path / "a.jpg", quality=95)
    found = read(tmp_path / "a.jpg", Form(3, 32, 48, "stretch", 10_000_000))
    expected = np.asarray(image.resize((48, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(found.astype(int) - expected).mean() < 2


def _truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("a.png", lambda p: p.write_bytes(b""), "it is empty"),
        ("a.png", lambda p: p.write_text("<html>not found</html>"), "no image of a known format"),
        ("a.jpg", _truncated, "truncated"),
        ("a.png", _truncated, "truncated"),
        ("a.gif", lambda p: p.write_bytes(b"GIF89a"), "."),
        ("a.png", lambda p: Image.new("L", (101, 100)).save(p), "101 x 100 pixels are more than data."),
        ("a.tif", lambda p: Image.new("F", (6, 4)).save(p), "32 bits"),
        ("a.tif", lambda p: Image.new("I", (6, 4)).save(p), "32 bits"),
    ],
)  # fmt: skip
def test_a_broken_file_has_its_reason(
    name: str, make: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    make(tmp_path / name)
    with pytest.raises(Broken, match=reason):
        read(tmp_path / name, FORM)


def test_a_decompression_bomb_is_not_decoded(tmp_path: Path) -> None:
    # The header of a PNG promises 60,000 x 60,000 pixels; Pillow itself refuses that many.
    colour(tmp_path / "bomb.png", (0, 0, 0))
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(Broken, match="more than 178956970 pixels"):
        read(tmp_path / "bomb.png", FORM)


# --- the folder ---


def test_classes_are_folders_and_images_may_lie_deeper(root: Path) -> None:
    colour(root / "cat" / "more" / "einhörnchen 猫.PNG", (9, 9, 9))
    colour(root / "cat" / ".hidden.png", (9, 9, 9))
    colour(root / ".cache" / "a.png", (9, 9, 9))
    (root / "cat" / "notes.txt").write_text("not an image")
    (root / "readme.md").write_text("nor this")
    examples = ImageFolder(root=str(root)).load()
    assert examples.class_names == ("cat", "dog")
    assert examples.x.shape == (7, 3, 4, 6)
    assert examples.y is not None
    assert examples.y.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert pixels(examples.x)[:, 0, 0, 0].tolist() == [0, 10, 20, 9, 0, 10, 20]
    assert examples.test is examples.val is None
    assert examples.notes == {}


def test_train_val_and_test_are_fixed_parts(root: Path, tmp_path: Path) -> None:
    for part, count in (("train", 3), ("valid", 2), ("test", 1)):
        for name in ("cat", "dog"):
            for number in range(count):
                target = tmp_path / "parts" / part / name / f"{number}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name / f"{number}.png", target)
    examples = ImageFolder(root=str(tmp_path / "parts")).load()
    assert examples.y is not None
    assert examples.y.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1]
    assert examples.val is not None
    assert examples.val.tolist() == [6, 7, 8, 9]
    assert examples.test is not None
    assert examples.test.tolist() == [10, 11]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "car"):
        colour(tmp_path / "traffic" / name / "a.png", (1, 2, 3))
    assert ImageFolder(root=str(tmp_path / "traffic")).load().class_names == ("car", "train")


def test_an_empty_class_folder_is_no_class(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "bird").mkdir()
    assert ImageFolder(root=str(root)).load().class_names == ("cat", "dog")
    assert "bird holds no images, and is no class" in caplog.text


def test_images_without_classes_have_no_targets(root: Path) -> None:
    examples = ImageFolder(root=str(root / "cat")).load()
    assert (examples.y, examples.task, examples.class_names) == (None, "", ())
    assert len(examples.x) == 3


def _empty(root: Path) -> None:
    shutil.rmtree(root / "cat")
    shutil.rmtree(root / "dog")


def _two_validation_folders(root: Path) -> None:
    colour(root / "train" / "cat" / "a.png", (0, 0, 0))
    (root / "cat").rename(root / "val")
    (root / "dog").rename(root / "valid")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shutil.rmtree, "no folder is at"),
        (_empty, "holds no images"),
        (lambda root: colour(root / "a.png", (0, 0, 0)), "1 lie beside them in 'images'"),
        (_two_validation_folders, "keep one of the validation folders"),
        (lambda root: (root / "cat" / "x.png").write_bytes(b""),
         r"1 of 7 images .* cannot be read: cat/x\.png \(it is empty\); .*data\.broken=skip"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_do_is_refused(
    change: Callable[[Path], object], message: str, root: Path
) -> None:
    change(root)
    with pytest.raises(DataError, match=message):
        ImageFolder(root=str(root)).load()


def test_one_class_is_too_few_to_tell_apart(root: Path) -> None:
    shutil.rmtree(root / "dog")
    with pytest.raises(
        DataError, match="needs two classes or more; all 3 rows are of the class 'cat'"
    ):
        load_splits(ImageFolder(root=str(root)), DataOptions(), "auto", unsupervised=False)


@pytest.mark.parametrize("size", ["auto", 5])
def test_broken_files_are_left_out_told_and_noted(
    size: Any, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        (root / "cat" / f"broken{number}.jpg").write_bytes(b"nothing" * number)
    for _ in range(2):  # decoded, and from the cache
        caplog.clear()
        data = ImageFolder(root=str(root), size=size, broken="skip")
        examples = data.load()
        assert examples.y is not None
        assert examples.y.tolist() == [0, 0, 0, 1, 1, 1]
        assert list(examples.notes["broken"]) == [f"cat/broken{i}.jpg" for i in range(5)]
        assert examples.notes["broken"]["cat/broken0.jpg"] == "it is empty"
        assert "5 of 11 images are left out: cat/broken0.jpg (it is empty)" in caplog.text
        assert "and 2 more" in caplog.text
    with pytest.raises(DataError, match="5 of 11 images"):  # the same cache, another wish
        ImageFolder(root=str(root), size=size).load()


def test_all_broken_is_an_error_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "images" / "cat").mkdir(parents=True)
    (tmp_path / "images" / "cat" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 1 images .* mend or remove them$"):
        ImageFolder(root=str(tmp_path / "images"), broken="skip").load()


def test_size_and_mode_are_found(root: Path, tmp_path: Path) -> None:
    colour(root / "cat" / "large.png", (0, 0, 0), (60, 50))
    assert ImageFolder(root=str(root)).load().x.shape == (7, 3, 4, 4)  # the median of shorter sides
    assert ImageFolder(root=str(root), size=(5, 7)).load().x.shape == (7, 3, 5, 7)
    grey = ImageFolder(root=str(root), mode="grey", size=3).load()
    assert grey.x.shape == (7, 1, 3, 3)
    luma = Image.new("RGB", (1, 1), (20, 200, 0)).convert("L").getpixel((0, 0))
    assert pixels(grey.x)[-1, 0, 0, 0] == luma
    for name in ("a", "b"):
        (tmp_path / "grey" / name).mkdir(parents=True)
        Image.new("L", (300, 400)).save(tmp_path / "grey" / name / "1.png")
        Image.new("L", (500, 400)).save(tmp_path / "grey" / name / "2.png")
    assert ImageFolder(root=str(tmp_path / "grey")).load().x.shape == (4, 1, 224, 224)


# --- the cache ---


def test_what_is_decoded_once_is_mapped_from_then_on(
    root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ImageFolder(root=str(root)).load()
    (file,) = home.iterdir()
    second = ImageFolder(root=str(root)).load()
    assert isinstance(second.x, np.memmap)
    assert not second.x.flags.writeable
    np.testing.assert_array_equal(pixels(first.x), pixels(second.x))
    without = ImageFolder(root=str(root), cache=False).load()
    assert not isinstance(without.x, np.memmap)
    np.testing.assert_array_equal(pixels(first.x), pixels(without.x))
    assert list(home.iterdir()) == [file]
    # A file that changes, or another option, is decoded anew.
    colour(root / "cat" / "0.png", (77, 0, 0))
    os.utime(root / "cat" / "0.png", ns=(1, 1))
    assert pixels(ImageFolder(root=str(root)).load().x)[0, 0, 0, 0] == 77
    ImageFolder(root=str(root), mode="grey").load()
    assert len(list(home.iterdir())) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:-5] + b"x" + content[-4:],
        lambda content: content[:70] + b"x" + content[71:],
        lambda content: b"",
        lambda content: os.urandom(100),
    ],
)
def test_a_damaged_cache_is_told_and_made_anew(
    damage: Callable[[bytes], bytes], root: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = pixels(ImageFolder(root=str(root)).load().x).copy()
    (file,) = home.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    caplog.clear()
    np.testing.assert_array_equal(pixels(ImageFolder(root=str(root)).load().x), before)
    assert "are damaged, and are made anew" in caplog.text
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DLFRAME_DATA", str(tmp_path / "file"))
    assert len(ImageFolder(root=str(root)).load().x) == 6
    assert "decoded images cannot be kept in" in caplog.text


def test_processes_that_ask_at_once_make_it_once(tmp_path: Path) -> None:
    ask = """
import sys, time
from pathlib import Path
import numpy as np
from dlframe.components.data.image_cache import Decoded, cached
def make():
    with open(sys.argv[2], "a") as log:
        log.write("made\\n")
    time.sleep(0.5)
    return Decoded(np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4), [0, 1], [])
print(int(cached(Path(sys.argv[1]), make).pixels.sum()))
"""
    command = [sys.executable, "-c", ask, str(tmp_path / "a" / "b.images"), str(tmp_path / "log")]
    asked = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in asked] == ["276\n"] * 3
    assert (tmp_path / "log").read_text() == "made\n"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.images"]


def test_a_process_that_waited_takes_what_the_other_made(tmp_path: Path) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4)
    made = image_cache.Decoded(images, [0, 2], [("b.png", "it is empty")])
    path = tmp_path / "a" / "b.images"

    def make() -> image_cache.Decoded:
        image_cache._store(path, made)  # as the other does in the meantime
        return made

    found = image_cache.cached(path, make)
    np.testing.assert_array_equal(found.pixels, images)
    assert (found.rows, found.broken) == (made.rows, made.broken)
    again = image_cache.cached(path, lambda: pytest.fail("it is there"))
    np.testing.assert_array_equal(again.pixels, images)


# --- from the command line ---


def test_training_and_predicting_from_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name in ("circle", "square"):
        for number in range(20):
            image = Image.new("RGB", (20, 16), tuple(draw.integers(0, 100, 3).tolist()))
            pen = ImageDraw.Draw(image)
            (pen.ellipse if name == "circle" else pen.rectangle)((4, 3, 14, 13), "white")
            path = tmp_path / "shapes" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    (tmp_path / "shapes" / "circle" / "broken.png").write_bytes(b"")
    command = [
        "train", "data=image_folder", "data.root=shapes", "data.broken=skip", "data.size=12",
        "data.batch_size=8", "architecture=cnn", "architecture.channels=[4]", "architecture.dense=[]",
        "trainer.max_epochs=1", "trainer.progress=off", "tracking.enabled=false",
    ]  # fmt: skip
    assert main(command) == 0
    (run,) = (tmp_path / "runs").glob("2*")
    noted = (run / "splits.json").read_text()
    assert '"circle/broken.png": "it is empty"' in noted
    capsys.readouterr()
    (tmp_path / "shapes" / "circle" / "broken.png").unlink()
    assert main(["predict", "last", "shapes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 41
    assert lines[0].startswith("file,prediction,probability")
    assert lines[1].split(",")[0] == "circle/0.png"
    assert main(["predict", "last", "shapes/square/3.png"]) == 0
    alone = capsys.readouterr().out.splitlines()[1].split(",")
    (within,) = (line.split(",") for line in lines if line.startswith("square/3.png"))
    assert alone[0] == "3.png"
    assert [float(v) for v in alone[2:]] == pytest.approx([float(v) for v in within[2:]], rel=1e-5)

    model = dlframe.load("last")
    rows = np.stack(
        [read(tmp_path / "shapes" / "square" / "3.png", Form(3, 12, 12, "stretch", 9999))]
    )
    assert model.outputs(rows).numpy()[0] == pytest.approx([float(v) for v in alone[3:]], rel=1e-5)

    (tmp_path / "none").mkdir()
    for rows_of, message in (("none", "holds no images"), ("nowhere", "no file is at")):
        assert main(["predict", "last", rows_of]) == 1
        assert message in capsys.readouterr().err
    (tmp_path / "none" / "a.png").write_text("no image")
    assert main(["predict", "last", "none"]) == 1
    assert "1 of 1 images to predict cannot be read" in capsys.readouterr().err


def test_images_without_classes_are_for_tasks_without_labels(root: Path) -> None:
    data = ImageFolder(root=str(root / "cat"))
    splits = load_splits(data, DataOptions(batch_size=1), "reconstruction", unsupervised=True)
    assert splits.spec.input_shape == (3, 4, 6)
    assert not splits.spec.class_names
    with pytest.raises(DataError, match="needs targets and the data has none"):
        load_splits(data, DataOptions(batch_size=1), "auto", unsupervised=False)
