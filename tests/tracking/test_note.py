import dataclasses
from pathlib import Path

from dlframe.tracking.names import TAG_LIMIT
from dlframe.tracking.note import Facts, merged, render

FACTS = Facts(
    uid="20261121-120000-abcd",
    data="digits: 10 train",
    model="mlp: 12 parameters",
    differences=(("optimizer", "sgd", "adam"), ("data.path", "a|b*c_d", "")),
    command="dlframe train optimizer=sgd",
    monitor="val/accuracy",
    replay="dlframe replay 20261121-120000-abcd",
    resume="dlframe resume 20261121-120000-abcd",
)


def test_facts_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert Facts.read(tmp_path) is None
    FACTS.write(tmp_path)
    assert Facts.read(tmp_path) == FACTS


def test_a_finished_run_shows_results_and_how_to_repeat_it() -> None:
    metrics = {
        "test/accuracy": 0.9,
        "test/loss": 0.3,
        "best/val_accuracy": 0.95,
        "cost/seconds": 2.0,
    }
    note = render(FACTS, status="FINISHED", metrics=metrics)
    first = "**Finished** with accuracy **0.9** (test), 0.95 (validation, best epoch) in 2.0 s"
    assert note.splitlines()[0] == first
    assert "| accuracy | 0.9000 | 0.9500 |" in note
    assert "| loss | 0.3000 |  |" in note
    assert "dlframe replay" in note
    assert "dlframe resume" not in note


def test_a_broken_run_shows_the_last_line_of_its_error_and_how_to_go_on() -> None:
    error = "Traceback (most recent call last):\n  ...\nValueError: bad *thing*\n"
    note = render(FACTS, status="FAILED", error=error, metrics={"val/accuracy": 0.5})
    line = note.splitlines()[0]
    assert line == r"**Failed** with accuracy **0.5** (validation, last): ValueError: bad \*thing\*"
    assert "dlframe resume" in note


def test_table_cells_are_shown_as_they_are() -> None:
    assert r"| data.path | a\|b\*c\_d |  |" in render(FACTS)
    plain = dataclasses.replace(FACTS, differences=())
    assert "in nothing" in render(plain)


def test_a_note_fits_into_a_tag_however_much_was_changed() -> None:
    many = tuple((f"group.option_{i}", "v" * 400, "d" * 400) for i in range(500))
    metrics = {f"{stage}_metric_{i}": 0.5 for i in range(300) for stage in ("test/a", "best/val_a")}
    long = dataclasses.replace(FACTS, differences=many, command="dlframe train " + "x" * 9000)
    note = render(long, status="FAILED", error="e" * 9000, metrics=metrics)
    assert len(note) < TAG_LIMIT
    assert "more, in config/differences.json" in note


def test_what_the_user_wrote_stays() -> None:
    old, new = render(FACTS), render(FACTS, status="FINISHED")
    assert merged(None, new) == new
    assert merged(old, new).rstrip() == new.rstrip()
    assert merged(old + "\nMy remark.", new) == new.rstrip() + "\n\nMy remark."
    assert merged("All my own.", new) == "All my own."
