"""A Lightning script for digits as one writes it by hand, searched by Optuna or by Hydra's sweeper.

python sweep_real_script.py optuna TRIALS JOURNAL     study.optimize, one of several processes
python sweep_real_script.py -m hydra/sweeper=optuna ...
"""

import sys
import warnings
from typing import Any

import lightning as L
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 5


class Module(L.LightningModule):
    """An MLP or a CNN."""

    def __init__(self, architecture: str, lr: float) -> None:
        super().__init__()
        self.lr, self.best = lr, 0.0
        self.network = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
            nn.Linear(128, 10),
        ) if architecture == "mlp" else nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(256, 10),
        )  # fmt: skip

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: Any, index: int) -> None:
        right = (self.network(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log("accuracy", right)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def train(architecture: str, lr: float) -> float:
    """Train once; return the validation accuracy."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    L.seed_everything(0, verbose=False)
    x, y = load_digits(return_X_y=True)
    data = train_test_split(
        torch.tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16,
        torch.tensor(y),
        random_state=0,
    )
    train_part, val_part = TensorDataset(*data[::2]), TensorDataset(*data[1::2])
    trainer = L.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(
        Module(architecture, lr),
        DataLoader(train_part, 64, shuffle=True),
        DataLoader(val_part, 64),
    )
    return float(trainer.callback_metrics["accuracy"])


def search(trials: int, journal: str) -> None:
    """Search with ``study.optimize``, together with other processes."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    study = optuna.create_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(journal)),
        direction="maximize", load_if_exists=True,
    )  # fmt: skip
    study.optimize(
        lambda trial: train(
            trial.suggest_categorical("architecture", ["mlp", "cnn"]),
            trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        ),
        n_trials=trials,
    )


if __name__ == "__main__":
    if sys.argv[1] == "optuna":
        search(int(sys.argv[2]), sys.argv[3])
    else:
        import hydra
        from hydra.core.config_store import ConfigStore

        ConfigStore.instance().store("app", {"architecture": "mlp", "lr": 0.01})

        @hydra.main(version_base="1.3", config_path=None, config_name="app")
        def main(config: Any) -> float:
            return train(config.architecture, config.lr)

        main()
