"""One training: `trainable`, the optimizer and the traced step in one call."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np

from tlkit.transfer.devices import scope, strategy_of
from tlkit.transfer.freeze import stage_of
from tlkit.transfer.scaled_adam import adam_for
from tlkit.transfer.schedule import WARMUP, Schedule
from tlkit.transfer.step import TrainOnBatch, make_step


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a step is made.

    Attributes:
        batch_norm: Which batch norms learn and move their statistics: none (`frozen`), those of trained stages
            (`with its stage`), or all (`train`).
        layer_decay: Factor of the learning rate from one stage to the one before it.
        weight_decay: Of kernels; biases, and scales and offsets of norms, have none.
        label_smoothing: Share of each label that is spread over all classes.
        multi_label: Whether a photo has any number of labels.
        ema: Decay of the moving average of the weights; 0 keeps none.
        auxiliary_weight: Of the cross-entropy of each auxiliary classifier.
    """

    batch_norm: Literal["frozen", "with its stage", "train"] = "with its stage"
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    multi_label: bool = False
    ema: float = 0.0
    auxiliary_weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A model ready for training: a step is traced on first use, for any batch size.

    Attributes:
        train_on_batch: One step.
        optimizer: With its variables made.
        variables: All that training moves: trained weights, the statistics of trained batch norms, the states of
            random layers.
        averages: Moving averages of the trained weights, in the order of `averaged_variables`; empty without.
        averaged_variables: What they are averages of.
    """

    train_on_batch: TrainOnBatch
    optimizer: keras.optimizers.Optimizer
    variables: list[keras.Variable]
    averages: list[keras.Variable] = field(default_factory=list)
    averaged_variables: list[keras.Variable] = field(default_factory=list)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Puts the averages in the place of the weights while the block runs."""
        pairs = list(zip(self.averages, self.averaged_variables, strict=True))
        kept = [keras.ops.convert_to_numpy(variable).copy() for _, variable in pairs]
        for average, variable in pairs:
            variable.assign(average)
        try:
            yield
        finally:
            for value, (_, variable) in zip(kept, pairs, strict=True):
                variable.assign(value)


def compile_for_training(
    model: keras.Model,
    schedule: Schedule,
    *,
    steps: int,
    frozen: Sequence[str] = (),
    recipe: Recipe | None = None,
    stages: Sequence[str] = (),
    rate: keras.optimizers.schedules.LearningRateSchedule | None = None,
) -> Compiled:
    """Sets `trainable`, builds the optimizer, and makes the step: what training needs, in the order that Keras needs.

    A step reads `trainable` when it is traced, and variables of an optimizer that are made inside the trace cost a
    second one. Keras' `fit` takes three times as long to its first step (benchmarks/startup.py).

    Args:
        model: From anything to logits, and perhaps those of auxiliary classifiers; its layers are named by stage.
        schedule: Warm-up over a tenth of the steps to its learning rate, then a cosine to 0.
        steps: Steps in the whole training.
        frozen: Names of stages; their batch norms stay in inference mode and their statistics do not move.
        recipe: How a step is made.
        stages: Of the architecture, from input to output; for `layer_decay`.
        rate: Learning rates of the steps instead.
    """
    recipe = recipe or Recipe()
    for layer in model.layers:
        layer.trainable = stage_of(layer.name) not in frozen
        if isinstance(layer, keras.layers.BatchNormalization) and recipe.batch_norm != "with its stage":
            layer.trainable = recipe.batch_norm == "train"
    warmup = max(1, round(WARMUP * steps))
    rate = rate or keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=schedule.learning_rate / (warmup + 1),  # from 0, the first step would be lost
        decay_steps=max(1, steps - warmup),
        warmup_target=schedule.learning_rate,
        warmup_steps=warmup,
    )
    trained = model.trainable_variables
    stage = {id(variable): stage_of(layer.name) for layer in model.layers for variable in layer.variables}
    with scope(strategy_of(model)):
        optimizer = adam_for(model, learning_rate=rate)
        optimizer.build_for(
            trained,
            factors=[recipe.layer_decay ** _distance(stage[id(variable)], stages) for variable in trained],
            decays=[recipe.weight_decay if _is_kernel(variable) else 0.0 for variable in trained],
        )
        # Copies: a variable that is made from another's tensor would be that tensor.
        values = [keras.ops.convert_to_numpy(variable) for variable in trained] if recipe.ema else []
        averages = [keras.Variable(value, trainable=False) for value in values]
    return Compiled(
        train_on_batch=make_step(model, optimizer, recipe, averages, batch_size=schedule.batch_size),
        optimizer=optimizer,
        variables=[variable for layer in model.layers if layer.trainable for variable in layer.variables],
        averages=averages,
        averaged_variables=list(trained) if recipe.ema else [],
    )


def _distance(stage: str, stages: Sequence[str]) -> int:
    """Returns how many stages lie between a stage and the output, itself included; 0 of the head."""
    return len(stages) - list(stages).index(stage) if stage in stages else 0


def _is_kernel(variable: keras.Variable) -> bool:
    """Whether it is what multiplies inputs across channels or pixels; scales, offsets and biases have one axis."""
    return len(variable.shape) > 1


def one_hot(labels: Any, classes: int) -> Any:  # noqa: ANN401
    """Returns labels as `[N, classes]` float32; those that are, as they are."""
    return labels if len(labels.shape) == 2 else np.eye(classes, dtype=np.float32)[np.asarray(labels)]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities of `[N, classes]` logits, in float64."""
    shifted = np.exp(np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def probabilities_of(logits: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Returns probabilities of `[N, classes]` logits, in float64: of all classes together, or of each by itself."""
    return sigmoid(logits) if multi_label else softmax(logits)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns the probability of each of `[N, classes]` logits by itself, in float64."""
    small = np.exp(-np.abs(np.asarray(logits, np.float64)))
    return np.where(logits >= 0, 1, small) / (1 + small)
