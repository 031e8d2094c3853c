"""Keras' Adam with one operation for each variable.

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

        step = tf.cast(self.iterations + 1, tf.float32)
        powers = tf.pow(tf.constant(self.beta_1), step), tf.pow(tf.constant(self.beta_2), step)
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            index = self._get_variable_index(variable)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=self._momentums[index].value.handle,
                v=self._velocities[index].value.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=tf.cast(learning_rate, tf.float32),
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=gradient,
            )
