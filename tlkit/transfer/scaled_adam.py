"""Adam for models that compute in float16, with a loss scale: small gradients would be zero in it."""

from collections.abc import Sequence
from typing import Any

import keras

from tlkit.transfer.fused_adam import FusedAdam


def adam_for(model: keras.Model, **options: Any) -> FusedAdam:  # noqa: ANN401
    """Returns Adam; with a loss scale where a layer computes in float16, whose least numbers gradients fall below."""
    half = any(layer.compute_dtype == "float16" for layer in model.layers)
    return (ScaledAdam if half else FusedAdam)(**options)


class ScaledAdam(FusedAdam):
    """Adam with a dynamic loss scale: steps with gradients that are no numbers are skipped and halve it.

    What `keras.optimizers.LossScaleOptimizer` does, for an update of one operation for each variable, also inside a
    replica of a `MirroredStrategy`, where that one updates between replicas. Start and growth are its defaults.
    """

    START, GROWTH_STEPS = 2.0**15, 2000

    def build_for(self, variables: Sequence[Any], *, factors: Sequence[float], decays: Sequence[float]) -> None:
        """Makes the optimizer's own variables, the loss scale among them; arguments as of `FusedAdam`."""
        super().build_for(variables, factors=factors, decays=decays)
        common = {"shape": (), "aggregation": "only_first_replica"}
        start = keras.initializers.Constant(self.START)
        self.scale = self.add_variable(**common, initializer=start, dtype="float32", name="loss_scale")
        self.good_steps = self.add_variable(**common, dtype="int32", name="good_steps")

    def begin_again(self, slowdown: float) -> None:
        """Forgets all gradients and the loss scale."""
        super().begin_again(slowdown)
        self.scale.assign(self.START)

    def scale_loss(self, loss: Any) -> Any:  # noqa: ANN401
        """Returns what gradients are to be taken of."""
        return loss * keras.ops.convert_to_tensor(self.scale)

    def apply_summed(self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any) -> None:  # noqa: ANN401
        """Takes the scale out of the gradients, and applies them if they are numbers."""
        import tensorflow as tf

        scale = tf.convert_to_tensor(self.scale.value)
        grads = [gradient / scale for gradient in grads]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in grads])
        # Read here: what is read inside a branch may be read after the step is counted.
        step = tf.cast(self.iterations + 1, tf.float32)

        def update() -> tf.Tensor:
            self.fused(grads, trainable_variables, learning_rate, step)
            return tf.constant(0)

        tf.cond(finite, update, lambda: tf.constant(0))
        good = tf.where(finite, tf.convert_to_tensor(self.good_steps.value) + 1, 0)
        grow = good >= self.GROWTH_STEPS
        larger = tf.where(grow, scale * 2, scale)
        self.scale.assign(tf.where(finite, larger, tf.maximum(scale / 2, 1.0)))
        self.good_steps.assign(tf.where(grow, 0, good))
        self.iterations.assign_sub(tf.where(finite, tf.zeros((), self.iterations.dtype), 1))  # it did not happen
