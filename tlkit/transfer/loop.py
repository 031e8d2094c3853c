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
from tlkit.transfer.callbacks import Watch
from tlkit.transfer.checkpoint import Checkpoints, State
from tlkit.transfer.interrupt import Interrupt, stopping_softly
from tlkit.transfer.schedule import Schedule, Step, steps_from
from tlkit.transfer.source import Source
from tlkit.transfer.thaw import RETRIES, RETRY, loss_beyond_chance
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
        max_drop: How much validation accuracy, as a fraction, the first epoch may lose against the best one before,
            beyond two standard errors. If it loses more, the phase begins again with the weights of that best one and
            a smaller learning rate; after `RETRIES` times, the training ends.
        before: The state of the phase before, which is finished and whose best weights are in the model; None of the
            first phase, and of one that goes on from a checkpoint.
        trained_before: Whether the model as it is may be better than what comes of it: then it is validated before the
            first step, and kept where it is.
        watch: Callbacks that are told what happens.
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
        trained_before: bool = False,
        watch: Watch | None = None,
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
        optimizer = [*compiled.optimizer.variables, compiled.optimizer.slowdown]
        moved = [*compiled.variables, *optimizer, *compiled.averages]
        self._watch = watch or Watch()
        self._watch.phase(self._steps, compiled.optimizer)
        self._trained_before = trained_before
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
            begun=len(before.rows),
            rows=before.rows,
            drops=before.drops,
            best_epoch=before.best_epoch,
            best_loss=before.best_loss,
            best=self._values() if before.best_epoch or before.best else [],
            begins=[*before.begins, len(before.rows)],
            start=before.start,
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
            with progress.bar(title, photos) as bar, stopping_softly(progress) as interrupt:
                if self._trained_before and not (state.phase or state.done or state.start):
                    self._validate_start()
                while not state.finished and not interrupt.asked:
                    self._train(bar, interrupt, progress)
        self._restore_best()
        return state.finished

    def _photos_done(self) -> int:
        epochs = self.state.done // self._steps
        return epochs * self._count + self.state.seen

    def _train(self, bar: Bar, interrupt: Interrupt, progress: Progress) -> None:
        """Trains until the phase ends, begins again, or is interrupted."""
        state = self.state
        started = time.perf_counter() - state.seconds
        for step, batch in zip(self._order(), self._source.batches(self._order()), strict=False):
            at = state.done % self._steps
            self._watch.before_batch(len(state.rows), at)
            rate = self._rate() if at == self._steps - 1 else 0.0
            losses, right = self._compiled.train_on_batch(*batch)
            state.done += 1
            state.losses += losses
            state.right += right
            state.seen += len(step.indices)
            self._watch.after_batch(at, loss=state.losses / state.seen, accuracy=state.right / state.seen)
            state.seconds = time.perf_counter() - started
            bar.advance(len(step.indices), note=self._note())
            if state.done % self._steps == 0:
                self._end_epoch(progress, rate)
                bar.advance(0, note=self._note())
                started = time.perf_counter()
            if state.finished or state.done == 0 or interrupt.asked:
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
        name, title = self._figure
        known = bool(state.rows) and math.isfinite(state.rows[-1][name])
        val = f", validation {title} {state.rows[-1][name]:.1%}" if known else ""
        return f"epoch {len(state.rows) + (state.seen > 0)}, loss {loss:.3f}{val}"

    @property
    def _figure(self) -> tuple[str, str]:
        """What is shown of validation: its name in a row, and in words."""
        return ("val_map", "mAP") if self._multi_label else ("val_accuracy", "accuracy")

    def _values(self) -> list[np.ndarray]:
        return [keras.ops.convert_to_numpy(variable).copy() for variable in self._compiled.variables]

    def _end_epoch(self, progress: Progress, rate: float) -> None:
        """Validates, remembers, decides whether it goes on; `rate` is the learning rate of the last step."""
        state, schedule, epoch = self.state, self._schedule, len(self.state.rows) + 1
        with self._compiled.averaged():
            probabilities = probabilities_of(self._source.val_logits(), multi_label=self._multi_label)
            values = self._values()
        row = {
            "epoch": epoch,
            "loss": state.losses / state.seen,
            "accuracy": state.right / state.seen,
            **self._validated(probabilities),
            "learning_rate": rate,
            "seconds": state.seconds,
        }
        self._check_finite(row["loss"], row["val_loss"])
        state.rows.append(row)
        state.losses, state.right, state.seen, state.seconds = 0.0, 0.0, 0, 0.0
        if row["val_loss"] < state.best_loss:
            state.best_loss, state.best_epoch = row["val_loss"], epoch
            state.best = values
        stale = schedule.patience and epoch - max(state.best_epoch, state.begun) >= schedule.patience
        state.finished = bool(stale) or state.done == schedule.epochs * self._steps
        if state.done == self._steps and (state.phase or state.start):
            self._check_drop(progress)
        state.stopped |= self._watch.after_epoch(row)
        state.finished |= state.stopped

    def _validate_start(self) -> None:
        """Makes the weights as they are the best so far."""
        state = self.state
        found = self._validated(probabilities_of(self._source.val_logits(), multi_label=self._multi_label))
        state.start, state.best_loss, state.best = found, found["val_loss"], self._values()

    def _rate(self) -> float:
        optimizer = self._compiled.optimizer
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate * optimizer.slowdown))

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
        """Returns to the best weights when the first epoch of newly thawed stages has lost too much."""
        state = self.state
        row, best = state.rows[-1], state.rows[state.best_epoch - 1] if state.best_epoch else state.start
        assert best is not None  # something came before, or nothing would be checked
        name, title = self._figure
        now, was = row[name], best[name]
        if loss_beyond_chance(was, now, len(self._labels)) <= self._max_drop:
            return
        slowdown = RETRY ** (state.attempt + 1)
        rate = self._schedule.learning_rate * slowdown
        state.drops.append({"epoch": row["epoch"], "from": was, "to": now, "limit": self._max_drop, "then": rate})
        back = f"epoch {state.best_epoch}" if state.best_epoch else "the run that it began with"
        what = (
            f"Thawing lost too much: validation {title} fell from {was:.1%} to {now:.1%} in epoch {row['epoch']:.0f}, "
            f"and {self._max_drop:.1%} may be lost beyond chance (--max-thaw-drop). The run returns to the weights of "
            f"{back}"
        )
        self._restore_best()
        state.attempt += 1
        if state.attempt > RETRIES:
            state.finished = state.stopped = True
            progress.warn(f"{what} and ends with them. Try --layer-decay, or --freeze all-but-head.")
            return
        self._begin_again(slowdown)
        progress.warn(f"{what}, and goes on with a learning rate of {rate:g}.")

    def _begin_again(self, slowdown: float) -> None:
        """Sets the phase back to its first step."""
        self._compiled.optimizer.begin_again(slowdown)
        for average, variable in zip(self._compiled.averages, self._compiled.averaged_variables, strict=True):
            average.assign(variable)
        self.state.done, self.state.finished, self.state.begun = 0, False, len(self.state.rows)

    def _check_finite(self, *losses: float) -> None:
        if not all(map(math.isfinite, losses)):
            raise DivergedError(
                f"Training diverged: in epoch {len(self.state.rows) + 1} the loss is not a number any more. "
                f"Use a smaller --learning-rate than {self._schedule.learning_rate:g}."
            )

    def _restore_best(self) -> None:
        """Puts the best weights back; where nothing was validated yet, they stay as they are."""
        for variable, value in zip(self._compiled.variables, self.state.best, strict=False):
            variable.assign(value)
