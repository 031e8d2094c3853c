"""Auxiliary classifiers: more outputs that help earlier layers learn, and that nothing but training ever sees.

A model with them gives a list: the logits first, then those of each auxiliary classifier.
"""

from typing import Any

import keras

from tlkit.models.architecture import Architecture, Auxiliaries


def auxiliaries_for(architecture: Architecture, *, frozen: tuple[str, ...], input_size: int) -> Auxiliaries | None:
    """Returns the auxiliary classifiers that training takes: of trained stages, if the input is large enough.

    Args:
        architecture: What is trained.
        frozen: Stages that are not.
        input_size: In pixels.
    """
    found = architecture.auxiliaries
    if found is None or found.stage in frozen or input_size < found.min_input_size:
        return None
    return found


def logits_of(outputs: Any) -> Any:  # noqa: ANN401
    """Returns the logits `[N, classes]` of what a model gives, with or without auxiliary classifiers."""
    return outputs[0] if isinstance(outputs, list | tuple) else outputs


def without_auxiliaries(model: keras.Model) -> keras.Model:
    """Returns the model that gives logits alone. It shares its layers, and has none of an auxiliary classifier."""
    if len(model.outputs) == 1:
        return model
    return keras.Model(model.input, model.outputs[0], name=model.name)
