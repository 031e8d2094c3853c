"""The training loop: steps, validation after each epoch, the best weights kept, and a state that survives."""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from tlkit import metrics, multi_label
from tlkit.data.multi_label import label_array
from tlkit.data.split import PhotoSet
from tlkit.errors import DivergedError
from tlkit.progress import Bar, Progress
from tlkit.transfer.checkpoint import Checkpoints, State
from tlkit.transfer.interrupt import Interrupt, stopping_softly
from tlkit.transfer.schedule import Schedule, Step, steps_from
from tlkit.transfer.source import Source
from tlkit.transfer.training import Recipe, compile_for_training, probabilities_of


class Training:
    """Trains `source.model` in one phase; what it needs to go on lies in `folder` at any time.

    Args:
        source: Of batches.
        photos: For the labels of train and val.
        schedule: How long and how fast.
        frozen, recipe, stages: As for `compile_for_training`.
        seed: Of the order.
        folder: Of the run; a checkpoint of this phase there is gone on from. None keeps none.
        first_epoch: Of the phase, from 0, counted over all phases.
        max_drop: How much validation accuracy, as a fraction, the first epoch may lose against the best one before. If
            it loses more, the training ends, with the weights of that best one.
        before: The state of the phase before, which is finished and whose best weights are in the model; None of the
            first phase, and of one that goes on from a checkpoint.
    """

    def __init__(
        self,
        source: Source,
        photos: PhotoSet,
        schedule: Schedule,
        *,
        frozen: Sequence[str],
        recipe: Recipe | None = None,
        stages: Sequence[str] = (),
        seed: int,
        folder: Path | None = None,
        first_epoch: int = 0,
        max_drop: float = 1.0,
        before: State | None = None,
    ) -> None:
        self._source, self._schedule, self._seed = source, schedule, seed
        self._first_epoch, self._max_drop = first_epoch, max_drop
        self._count, self._multi_label = len(photos.train), photos.multi_label
        self._train_labels = label_array(photos.train, len(photos.classes))
        self._labels = label_array(photos.val, len(photos.classes))
        self._steps = schedule.steps_per_epoch(self._count)
        compiled = compile_for_training(
            source.model,
            schedule,
            steps=self._steps * schedule.epochs,
            frozen=frozen,
            recipe=recipe,
            stages=stages,
        )
        self._compiled = compiled
        moved = [*compiled.variables, *compiled.optimizer.variables, *compiled.averages]
        self._checkpoints = Checkpoints(folder, moved)
        self._warned = False
        if before is None:
            self.state: State = self._checkpoints.restore()
        else:
            self.state = self._after(before)
            self._save(Progress(), force=True)  # or what is killed now would begin the phase before again

    def _after(self, before: State) -> State:
        """Returns how a phase begins: the best weights so far are those in the model, and may stay the best."""
        return State(
            phase=before.phase + 1,
            rows=before.rows,
            best_epoch=before.best_epoch,
            best_loss=before.best_loss,
            best=self._values() if before.best_epoch else [],
        )

    def run(self, progress: Progress, title: str = "Training") -> bool:
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
                progress.bar(title, photos) as bar,
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
                self._end_epoch(progress)
                bar.advance(0, note=self._note())
                started = time.perf_counter()
            if state.finished or interrupt.asked:
                self._check_finite(state.losses)
                break
            self._save(progress, force=False)
        self._save(progress, force=True)

    def _order(self) -> Iterator[Step]:
        return steps_from(
            self.state.done, self._train_labels, self._schedule, seed=self._seed, first_epoch=self._first_epoch
        )

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
        val = ""
        if state.rows:
            name, title = self._figure
            val = f", validation {title} {state.rows[-1][name]:.1%}"
        return f"epoch {self._epoch}, loss {loss:.3f}{val}"

    @property
    def _figure(self) -> tuple[str, str]:
        """What is shown of validation: its name in a row, and in words."""
        return ("val_map", "mAP") if self._multi_label else ("val_accuracy", "accuracy")

    @property
    def _epoch(self) -> int:
        """The epoch of the last step, from 1, over all phases."""
        return self._first_epoch + (self.state.done - 1) // self._steps + 1

    def _values(self) -> list[np.ndarray]:
        return [keras.ops.convert_to_numpy(variable).copy() for variable in self._compiled.variables]

    def _end_epoch(self, progress: Progress) -> None:
        """Validates, remembers, decides whether it goes on."""
        state, schedule, epoch = self.state, self._schedule, self._epoch
        with self._compiled.averaged():
            probabilities = probabilities_of(self._source.val_logits(), multi_label=self._multi_label)
            values = self._values()
        row = {
            "epoch": epoch,
            "loss": state.losses / state.seen,
            "accuracy": state.right / state.seen,
            **self._validated(probabilities),
            "learning_rate": float(keras.ops.convert_to_numpy(self._compiled.optimizer.learning_rate)),
            "seconds": state.seconds,
        }
        self._check_finite(row["loss"], row["val_loss"])
        state.rows.append(row)
        state.losses, state.right, state.seen, state.seconds = 0.0, 0.0, 0, 0.0
        if row["val_loss"] < state.best_loss:
            state.best_loss, state.best_epoch = row["val_loss"], epoch
            state.best = values
        in_phase = epoch - self._first_epoch
        stale = schedule.patience and epoch - max(state.best_epoch, self._first_epoch) >= schedule.patience
        state.finished = bool(stale) or in_phase == schedule.epochs
        if in_phase == 1:
            self._check_drop(progress)

    def _validated(self, probabilities: np.ndarray) -> dict[str, float]:
        """Returns what an epoch's row says of validation; with multi-label, mAP too."""
        if not self._multi_label:
            loss, accuracy = (f(probabilities, self._labels) for f in (metrics.log_loss, metrics.accuracy))
            return {"val_loss": loss, "val_accuracy": accuracy}
        return {
            "val_loss": multi_label.log_loss(probabilities, self._labels),
            "val_accuracy": float(np.mean((probabilities >= 0.5) == (self._labels > 0.5))),
            "val_map": multi_label.mean_average_precision(probabilities, self._labels),
        }

    def _check_drop(self, progress: Progress) -> None:
        """Ends the training when the first epoch of newly thawed stages has lost too much."""
        state = self.state
        before = [row for row in state.rows[:-1] if row["epoch"] == state.best_epoch]
        if not before:  # nothing came before, or this epoch is the best so far
            return
        name, title = self._figure
        now, was = state.rows[-1][name], before[0][name]
        # Of few photos, one or two may change sides by chance.
        if was - now <= max(self._max_drop, 2.5 / len(self._labels)):
            return
        state.finished = True
        state.dropped = {"epoch": self._epoch, "from": was, "to": now, "limit": self._max_drop}
        progress.warn(
            f"Thawing lost too much: validation {title} fell from {was:.1%} to {now:.1%} in epoch {self._epoch}, and "
            f"{self._max_drop:.1%} may be lost (--max-thaw-drop). The run returns to the weights of "
            f"epoch {state.best_epoch}. Try a smaller --learning-rate than {self._schedule.learning_rate:g}, or "
            "--layer-decay."
        )

    def _check_finite(self, *losses: float) -> None:
        if not all(map(math.isfinite, losses)):
            raise DivergedError(
                f"Training diverged: in epoch {self._epoch} the loss is not a number any more. "
                f"Use a smaller --learning-rate than {self._schedule.learning_rate:g}."
            )

    def _restore_best(self) -> None:
        """Puts the weights of the best epoch back; without a whole epoch in any phase, they stay as they are."""
        for variable, value in zip(self._compiled.variables, self.state.best, strict=False):
            variable.assign(value)
