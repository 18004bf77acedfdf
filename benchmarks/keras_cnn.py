"""Keras's share of mnist_keras.py, for an interpreter that has Keras: reads arrays, prints JSON."""

import json
import sys
import time
from typing import Any

import keras  # type: ignore[import-not-found]
import numpy as np
from keras import layers


class EpochTimes(keras.callbacks.Callback):  # type: ignore[misc]
    """Notes when training starts and ends."""

    def on_train_begin(self, logs: Any = None) -> None:
        """Note the time."""
        self.started = time.perf_counter()

    def on_train_end(self, logs: Any = None) -> None:
        """Note the duration."""
        self.seconds = time.perf_counter() - self.started


def main() -> None:
    """Train on the arrays of the file given and print seconds and test accuracy."""
    path, batch, rate, epochs = sys.argv[1:]
    data = np.load(path)
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(float(rate)), loss, metrics=["accuracy"])
    times = EpochTimes()
    network.fit(
        data["train_x"],
        data["train_y"],
        batch_size=int(batch),
        epochs=int(epochs),
        validation_data=(data["val_x"], data["val_y"]),
        validation_batch_size=1024,
        callbacks=[times],
        verbose=0,
    )
    accuracy = network.evaluate(data["test_x"], data["test_y"], 1024, verbose=0)[1]
    version = f"keras {keras.__version__} on {keras.backend.backend()}"
    print(json.dumps({"seconds": times.seconds, "accuracy": accuracy, "version": version}))


if __name__ == "__main__":
    main()
