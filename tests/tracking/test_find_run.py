import shutil
from pathlib import Path

import pytest
from tracking_support import Delivered

from dlframe.errors import RunNotFoundError, StorageError
from dlframe.tracking.recorder import Recorder
from dlframe.tracking.runs import find_folder, find_run
from dlframe.tracking.spool import FILE

pytest_plugins = ["tracking_fixtures"]


@pytest.fixture
def three(tmp_path: Path) -> Path:
    for uid in ("20261120-080000-aaaa", "20261121-090000-bbbb", "20261121-100000-bccc"):
        recorder = Recorder(
            tmp_path, uri=None, experiment="e", run_name=None, uid=uid, deliver=False
        )
        (recorder.folder / "config.yaml").write_text(f"name: {uid}\n")
        recorder.finish("FINISHED")
    return tmp_path


@pytest.mark.parametrize("name", ["20261121-090000-bbbb", "20261121-09", "bbbb", "-bbbb"])
def test_a_run_is_found_by_its_id_or_either_end_of_it(three: Path, name: str) -> None:
    run = find_run(name, three, None)
    assert run.id == "20261121-090000-bbbb"
    assert run.folder == three / run.id
    assert run.config == {"name": run.id}
    assert run.mlflow_run_id is None
    assert run.uri == f"sqlite:///{three / 'mlflow.db'}"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("20261121", r"2 runs answer to '20261121': .*-bbbb, .*-bccc; give more characters"),
        ("zzzz", r"no run answers to 'zzzz' in .*; the latest are .*-aaaa, .*-bbbb, .*-bccc"),
        ("bbb", r"no run answers to 'bbb' \(give at least 4 characters\)"),
        ("20261121-090000-bbbc", r"did you mean '20261121-090000-bbbb'"),
        ("../20261121-090000-bbbb", r"no run answers to"),
    ],
)
def test_no_run_and_several_runs_are_one_sentence(three: Path, name: str, sentence: str) -> None:
    with pytest.raises(RunNotFoundError, match=sentence):
        find_run(name, three, None)


def test_an_empty_root_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="it holds no runs yet"):
        find_run("anything", tmp_path, None)


def test_a_run_without_config_says_so(three: Path) -> None:
    (three / "20261120-080000-aaaa" / "config.yaml").unlink()
    with pytest.raises(RunNotFoundError, match="ended before its config was recorded"):
        find_run("aaaa", three, None)


def test_the_folder_of_a_run_without_config_is_found(three: Path) -> None:
    (three / "20261120-080000-aaaa" / "config.yaml").unlink()
    assert find_folder("aaaa", three) == three / "20261120-080000-aaaa"
    assert find_folder("last", three) == three / "20261121-100000-bccc"
    with pytest.raises(RunNotFoundError, match="no run answers to 'zzzz'"):
        find_folder("zzzz", three)


def test_a_broken_spool_says_so(three: Path) -> None:
    (three / "20261120-080000-aaaa" / FILE).write_bytes(b"no database" * 500)
    with pytest.raises(StorageError, match="cannot be read"):
        find_run("aaaa", three, None)


def test_a_broken_spool_hides_no_other_run(delivered: Delivered) -> None:
    broken = delivered.root / "20261120-080000-aaaa"
    broken.mkdir()
    (broken / FILE).write_bytes(b"no database" * 500)
    try:
        assert (
            find_run(str(delivered.delivery.mlflow_run_id), delivered.root, None).id
            == delivered.uid
        )
    finally:
        shutil.rmtree(broken)


def test_a_delivered_run_is_found_by_its_mlflow_id(delivered: Delivered) -> None:
    known = str(delivered.delivery.mlflow_run_id)
    for name in (known, known[:8]):
        run = find_run(name, delivered.root, None)
        assert (run.id, run.mlflow_run_id) == (delivered.uid, known)


# SQLAlchemy deprecates something that MLflow still uses.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
@pytest.mark.parametrize("ending", ["uid", "end of uid", "mlflow id", "start of mlflow id"])
def test_a_run_of_another_machine_is_fetched_from_the_store(
    delivered: Delivered, tmp_path: Path, ending: str
) -> None:
    known = str(delivered.delivery.mlflow_run_id)
    name = {"uid": delivered.uid, "end of uid": delivered.uid[-4:], "mlflow id": known}.get(
        ending, known[:7]
    )
    uri = delivered.delivery.tracking_uri
    run = find_run(name, tmp_path, uri)
    assert (run.id, run.mlflow_run_id) == (delivered.uid, known)
    assert run.config["architecture"] == {"component": "dlframe/mlp"}
    assert (run.folder / "checkpoints" / "best.ckpt").read_bytes() == b"weights"
    shutil.rmtree(run.folder)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_a_store_without_the_run_says_so(delivered: Delivered, tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="no run answers to 'ffff%'"):
        find_run("ffff%", tmp_path, delivered.delivery.tracking_uri)


def test_a_store_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=r"http://127.0.0.1:9 cannot be searched for run"
    ) as told:
        find_run("anything", tmp_path, "http://me:secret@127.0.0.1:9")
    assert "secret" not in str(told.value)


def test_last_is_the_latest_run_that_kept_its_weights(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="kept its weights yet"):
        find_run("last", tmp_path, None)
    for uid, trained in (("20260101-000000-aaaa", True), ("20260102-000000-bbbb", False)):
        folder = tmp_path / uid / "checkpoints"
        folder.mkdir(parents=True)
        (folder.parent / "config.yaml").write_text("seed: 1\n")
        if trained:
            (folder / "best.ckpt").touch()
    found = find_run("last", tmp_path, None)
    assert (found.id, found.mlflow_run_id) == ("20260101-000000-aaaa", None)
