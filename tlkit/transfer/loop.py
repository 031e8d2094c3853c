"""The training loop: steps, validation after each epoch, the best weights kept, and a state that survives."""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from tlkit import metrics
from tlkit.data.split import PhotoSet
from tlkit.errors import DivergedError
from tlkit.progress import Bar, Progress
from tlkit.transfer.checkpoint import Checkpoints, State
from tlkit.transfer.interrupt import Interrupt, stopping_softly
from tlkit.transfer.source import Source
from tlkit.transfer.training import Schedule, Step, compile_for_training, softmax, steps_from


class Training:
    """Trains `source.model`; what it needs to go on lies in `folder` at any time.

    Args:
        source: Of batches.
        photos: For their number and the labels of val.
        schedule: How long and how fast.
        frozen, batch_norm_frozen: As for `compile_for_training`.
        auxiliary_weight: As for `compile_for_training`.
        seed: Of the order.
        folder: Of the run; a checkpoint there is gone on from. None keeps none.
    """

    def __init__(
        self,
        source: Source,
        photos: PhotoSet,
        schedule: Schedule,
        *,
        frozen: Sequence[str],
        batch_norm_frozen: bool,
        auxiliary_weight: float = 0.0,
        seed: int,
        folder: Path | None = None,
    ) -> None:
        self._source, self._schedule, self._seed = source, schedule, seed
        self._count = len(photos.train)
        self._labels = np.array([photo.label for photo in photos.val])
        self._steps = schedule.steps_per_epoch(self._count)
        compiled = compile_for_training(
            source.model,
            schedule,
            steps=self._steps * schedule.epochs,
            frozen=frozen,
            batch_norm_frozen=batch_norm_frozen,
            auxiliary_weight=auxiliary_weight,
        )
        self._compiled = compiled
        self._checkpoints = Checkpoints(folder, [*compiled.variables, *compiled.optimizer.variables])
        self._warned = False
        self.state: State = self._checkpoints.restore()

    def run(self, progress: Progress) -> bool:
        """Trains to the end and leaves the weights of the best epoch in the model.

        Returns:
            Whether it came to its end; False when Ctrl-C stopped it.

        Raises:
            DivergedError: the loss is not a number any more.
        """
        state = self.state
        if not state.finished:
            photos = self._count * self._schedule.epochs - self._photos_done()
            with (
                progress.bar("Training", photos) as bar,
                stopping_softly(progress) as interrupt,
                self._source.errors(),
            ):
                self._train(bar, interrupt, progress)
        self._restore_best()
        return state.finished

    def _photos_done(self) -> int:
        epochs = self.state.done // self._steps
        return epochs * self._count + self.state.seen

    def _train(self, bar: Bar, interrupt: Interrupt, progress: Progress) -> None:
        state = self.state
        started = time.perf_counter() - state.seconds
        for step, batch in zip(self._order(), self._source.batches(self._order()), strict=False):
            losses, right = self._compiled.train_on_batch(*batch)
            state.done += 1
            state.losses += losses
            state.right += right
            state.seen += len(step.indices)
            state.seconds = time.perf_counter() - started
            bar.advance(len(step.indices), note=self._note())
            if state.done % self._steps == 0:
                self._end_epoch()
                bar.advance(0, note=self._note())
                started = time.perf_counter()
            if state.finished or interrupt.asked:
                self._check_finite(state.losses)
                break
            self._save(progress, force=False)
        self._save(progress, force=True)

    def _order(self) -> Iterator[Step]:
        return steps_from(self.state.done, self._count, self._schedule, seed=self._seed)

    def _save(self, progress: Progress, *, force: bool) -> None:
        """Saves a checkpoint. A full disk need not end a training that may yet fit when it is done."""
        try:
            (self._checkpoints.save if force else self._checkpoints.save_now_and_then)(self.state)
        except OSError as err:
            if not self._warned:
                progress.warn(
                    f"The checkpoint can't be written ({err.strerror}). Training goes on; to resume it would start "
                    "from an older one, or anew."
                )
            self._warned = True

    def _note(self) -> str:
        state = self.state
        loss = state.losses / state.seen if state.seen else state.rows[-1]["loss"]
        val = f", validation accuracy {state.rows[-1]['val_accuracy']:.1%}" if state.rows else ""
        return f"epoch {(state.done - 1) // self._steps + 1}, loss {loss:.3f}{val}"

    def _end_epoch(self) -> None:
        """Validates, remembers, decides whether it goes on."""
        state, schedule = self.state, self._schedule
        probabilities = softmax(self._source.val_logits())
        epoch = state.done // self._steps
        row = {
            "epoch": epoch,
            "loss": state.losses / state.seen,
            "accuracy": state.right / state.seen,
            "val_loss": metrics.log_loss(probabilities, self._labels),
            "val_accuracy": metrics.accuracy(probabilities, self._labels),
            "learning_rate": float(keras.ops.convert_to_numpy(self._compiled.optimizer.learning_rate)),
            "seconds": state.seconds,
        }
        self._check_finite(row["loss"], row["val_loss"])
        state.rows.append(row)
        state.losses, state.right, state.seen, state.seconds = 0.0, 0.0, 0, 0.0
        if row["val_loss"] < state.best_loss:
            state.best_loss, state.best_epoch = row["val_loss"], epoch
            state.best = [keras.ops.convert_to_numpy(variable).copy() for variable in self._compiled.variables]
        stale = schedule.patience and epoch - state.best_epoch >= schedule.patience
        state.finished = bool(stale) or epoch == schedule.epochs

    def _check_finite(self, *losses: float) -> None:
        if not all(map(math.isfinite, losses)):
            epoch = (self.state.done - 1) // self._steps + 1
            raise DivergedError(
                f"Training diverged: in epoch {epoch} the loss is not a number any more. "
                f"Use a smaller --learning-rate than {self._schedule.learning_rate:g}."
            )

    def _restore_best(self) -> None:
        """Puts the weights of the best epoch back; without a whole epoch, they stay as they are."""
        for variable, value in zip(self._compiled.variables, self.state.best, strict=False):
            variable.assign(value)
