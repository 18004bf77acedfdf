from typing import Any

import pytest

from dlframe.config.compose import compose
from dlframe.config.differences import differences
from dlframe.config.validate import complete, validate


def config(*overrides: str, task: str = "classification") -> dict[str, Any]:
    return complete(validate(compose(overrides)), task)


def test_the_default_config_differs_in_nothing() -> None:
    assert differences(config()) == []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimizer.lr=0.002"], [("optimizer.lr", "0.002", "0.001")]),
        (["optimizer.lr=0.001"], []),  # said, but as by default
        (["optimizer.betas=[0.8,0.9]"], [("optimizer.betas", "[0.8, 0.9]", "[0.9, 0.999]")]),
        # The options of another component have its own defaults.
        (["optimizer=sgd"], [("optimizer", "sgd", "adam")]),
        (
            ["optimizer=sgd", "optimizer.momentum=0.9"],
            [("optimizer", "sgd", "adam"), ("optimizer.momentum", "0.9", "0.0")],
        ),
        (
            ["regularizer=[l2,dropout]", "regularizer.dropout.p=0.1"],
            [
                ("regularizer.l2", "l2", ""),
                ("regularizer.dropout", "dropout", ""),
                ("regularizer.dropout.p", "0.1", "0.5"),
            ],
        ),
        # What a component brings along is not chosen by the user.
        (["architecture=autoencoder"], [("architecture", "autoencoder", "mlp")]),
        (["seed=3"], [("seed", "3", "0")]),
        (["trainer.max_epochs=2"], [("trainer.max_epochs", "2", "10")]),
        (["trainer.max_time=00:01:00:00"], [("trainer.max_time", "00:01:00:00", "")]),
    ],
)
def test_what_was_chosen_or_set_is_listed_with_its_default(
    overrides: list[str], expected: list[tuple[str, str, str]]
) -> None:
    assert differences(config(*overrides)) == expected


def test_the_task_of_other_data_is_the_datas_own() -> None:
    found = differences(config("data=diabetes", "loss=huber", task="regression"))
    assert found == [("loss", "huber", "mse"), ("data", "diabetes", "digits")]
