"""Keras callbacks in our loop, which is not Keras' `fit`.

Called are `set_params`, `set_model`, `on_train_begin`, `on_epoch_begin`, `on_train_batch_begin`, `on_train_batch_end`,
`on_epoch_end` and `on_train_end`. Epochs are counted from 0 over all phases, batches from 0 in each epoch.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from tlkit.errors import OptionError

# What can't work here, and what does its job. Named, since not every Keras has every one of them.
_REFUSED = {
    "LearningRateScheduler": "the learning rate warms up, then follows a cosine. Set it with learning_rate and epochs",
    "ReduceLROnPlateau": "the learning rate warms up, then follows a cosine, which falls to 0 by itself",
    "BackupAndRestore": "every run keeps what it needs to go on. Use tlkit.resume()",
    "SwapEMAWeights": "the optimizer keeps no averages. Use ema=0.99, which validates and keeps them",
    "OrbaxCheckpoint": "the model has no optimizer that it could save. Use tlkit.resume() to go on with a run",
}


def check_callbacks(callbacks: Iterable[Any]) -> None:
    """Checks that all of them can work.

    Raises:
        OptionError: one is no Keras callback, or needs what only `fit` has; the message says what to use.
    """
    if isinstance(callbacks, keras.callbacks.Callback):
        raise OptionError(f"callbacks takes a list of them: [{type(callbacks).__name__}(...)].")
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise OptionError(f"callbacks takes objects of keras.callbacks, not {callback!r}.")
        for kind in type(callback).__mro__:
            if kind.__module__.startswith("keras.") and kind.__name__ in _REFUSED:
                raise OptionError(f"{kind.__name__} can't work in tlkit.finetune: {_REFUSED[kind.__name__]}.")


class Watch:
    """Callbacks on one training.

    Args:
        callbacks: Of Keras.
        model: The whole model, from pixels to logits, also where features are cached and only its tail is trained: its
            weights are what training moves.
        epochs: Of all phases.

    Attributes:
        stopped: Whether one of them set `model.stop_training`.
    """

    def __init__(self, callbacks: Iterable[keras.callbacks.Callback] = (), model: Any = None, epochs: int = 0) -> None:  # noqa: ANN401
        callbacks = list(callbacks)
        check_callbacks(callbacks)
        for callback in callbacks:
            # Keras learns from the metrics of a compiled model which way is up, and this one is none.
            monitored = getattr(callback, "monitor", None) in ("accuracy", "val_accuracy", "val_map")
            if monitored and getattr(callback, "mode", None) == "auto":
                callback.mode = "max"
        self._model, self._epochs = model, epochs
        self._list = keras.callbacks.CallbackList(list(callbacks), model=model) if callbacks else None
        self._begun = self.stopped = False

    def phase(self, steps: int, optimizer: keras.optimizers.Optimizer) -> None:
        """Says that a phase begins, and with the first one training.

        Args:
            steps: Batches of an epoch.
            optimizer: Of the phase: TensorBoard looks at it.
        """
        if self._list is not None:
            self._model.optimizer = optimizer
            self._list.set_params({"epochs": self._epochs, "steps": steps, "verbose": 0})
            if not self._begun:
                self._begun, self._model.stop_training = True, False
                self._list.on_train_begin()

    def before_batch(self, epoch: int, batch: int) -> None:
        """Says that a batch begins, and with the first one its epoch."""
        if self._list is not None:
            if batch == 0:
                self._list.on_epoch_begin(epoch)
            self._list.on_train_batch_begin(batch)

    def after_batch(self, batch: int, *, loss: float, accuracy: float) -> None:
        """Says how a batch ended: both are means over the epoch so far, as in `fit`."""
        if self._list is not None:
            self._list.on_train_batch_end(batch, {"loss": loss, "accuracy": accuracy})

    def after_epoch(self, row: Mapping[str, float]) -> bool:
        """Says how an epoch ended, with a row of the history; returns whether training is to stop."""
        if self._list is not None:
            told = {name: float(value) for name, value in row.items() if name not in ("epoch", "seconds")}
            self._list.on_epoch_end(int(row["epoch"]) - 1, told)
            self.stopped = bool(self._model.stop_training)
        return self.stopped

    def end(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Says that training has ended, the best weights being back in the model."""
        if self._list is not None:
            self._model.optimizer = None
            last = list(rows)[-1:]
            self._list.on_train_end(
                {name: v for row in last for name, v in row.items() if name not in ("epoch", "seconds")}
            )
