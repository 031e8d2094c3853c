"""What a training step makes smaller, and what it counts as right: of one label a photo, and of any number.

Functions of tensors on any Keras backend.
"""

from typing import Any

import keras


def cross_entropy(
    labels: Any,  # noqa: ANN401
    logits: Any,  # noqa: ANN401
    weights: Any,  # noqa: ANN401
    *,
    smoothing: float,
    multi_label: bool,
) -> Any:  # noqa: ANN401
    """Returns the weighted loss of each photo, `[N]`.

    Of one label it is the cross-entropy of the softmax. Of any number it is the mean over the classes of the sigmoids'
    cross-entropies: with more classes it stays of one size.

    Args:
        labels: `[N, classes]` shares of each class; with `multi_label` each from 0 to 1 by itself.
        logits: `[N, classes]`.
        weights: `[N]`; with `multi_label` `[N, classes]`.
        smoothing: Share of the labels that is spread over all classes; with `multi_label` over presence and absence.
        multi_label: Whether a photo has any number of labels.
    """
    ways = 2 if multi_label else logits.shape[-1]
    targets = labels * (1 - smoothing) + smoothing / ways if smoothing else labels
    if multi_label:
        return keras.ops.mean(weights * keras.ops.binary_crossentropy(targets, logits, from_logits=True), axis=-1)
    return weights * keras.ops.categorical_crossentropy(targets, logits, from_logits=True)


def right_answers(labels: Any, logits: Any, *, multi_label: bool) -> Any:  # noqa: ANN401
    """Returns how right each photo is, `[N]`: 1 or 0; with `multi_label` the share of its classes told right at 0.5."""
    if multi_label:
        return keras.ops.mean(keras.ops.cast(keras.ops.equal(logits >= 0, labels >= 0.5), "float32"), axis=-1)
    same = keras.ops.equal(keras.ops.argmax(logits, axis=-1), keras.ops.argmax(labels, axis=-1))
    return keras.ops.cast(same, "float32")
