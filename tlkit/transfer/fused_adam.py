"""Keras' Adam with one operation for each variable, a learning rate of its own for each, and decoupled weight decay.

Keras writes a dozen operations for each variable of the model, which take longer to trace and optimize than the model
itself: a network of 150 variables waits seconds for its first step. TensorFlow has one operation that does the same.
"""

from collections.abc import Sequence
from typing import Any

import keras


class FusedAdam(keras.optimizers.Adam):
    """Adam (Kingma and Ba, arXiv:1412.6980, Algorithm 1) as `keras.optimizers.Adam` computes it.

    With the TensorFlow backend an update is one `ResourceApplyAdam`; other backends, and options that the operation
    does not have, take Keras' own updates. Both differ by rounding: the operation takes 1 - beta_2 in float32, which
    makes an update differ by up to 5e-5 of its size.
    """

    def build_for(self, variables: Sequence[Any], *, factors: Sequence[float], decays: Sequence[float]) -> None:
        """Makes the optimizer's own variables.

        Args:
            variables: What is trained.
            factors: Of the learning rate, one for each variable.
            decays: What share of each variable, times its learning rate, a step takes away: decoupled weight decay
                (Loshchilov and Hutter, arXiv:1711.05101, Algorithm 2).
        """
        self._factors, self._decays = list(factors), list(decays)
        self.build(variables)
        self.slowdown = keras.Variable(1.0, trainable=False, dtype="float32", name="slowdown")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:  # noqa: ANN401
        """Updates one variable with Keras' operations, on any backend."""
        rate = learning_rate * self._slowdown() * self._factor(variable)
        self._decay(variable, rate)
        super().update_step(gradient, variable, rate)

    def begin_again(self, slowdown: float) -> None:
        """Forgets all gradients, and learns at `slowdown` times the rates from now on."""
        for variable in self.variables:
            variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
        self.slowdown.assign(slowdown)

    def _slowdown(self) -> Any:  # noqa: ANN401
        return self.slowdown if hasattr(self, "slowdown") else 1.0

    def _factor(self, variable: Any) -> float:  # noqa: ANN401
        return self._factors[self._get_variable_index(variable)] if hasattr(self, "_factors") else 1.0

    def _decay(self, variable: Any, rate: Any) -> None:  # noqa: ANN401
        decay = self._decays[self._get_variable_index(variable)] if hasattr(self, "_decays") else 0.0
        if decay:
            self.assign_sub(variable, keras.ops.cast(rate * decay, variable.dtype) * variable)

    def _backend_update_step(
        self,
        grads: Sequence[Any],
        trainable_variables: Sequence[Any],
        learning_rate: Any,  # noqa: ANN401
    ) -> None:
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        import tensorflow as tf

        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            grads = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, list(grads))
        self.apply_summed(grads, trainable_variables, learning_rate)

    def apply_summed(self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any) -> None:  # noqa: ANN401
        """Applies gradients that are the same on all devices."""
        import tensorflow as tf

        self.fused(grads, trainable_variables, learning_rate, tf.cast(self.iterations + 1, tf.float32))

    def fused(self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any, step: Any) -> None:  # noqa: ANN401
        """Updates with one operation for each variable; `step` counts from 1."""
        import tensorflow as tf

        powers = tf.pow(tf.constant(self.beta_1), step), tf.pow(tf.constant(self.beta_2), step)
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            index = self._get_variable_index(variable)
            rate = tf.cast(learning_rate, tf.float32) * self._slowdown() * self._factor(variable)
            self._decay(variable, rate)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=self._momentums[index].value.handle,
                v=self._velocities[index].value.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=rate,
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=gradient,
            )
