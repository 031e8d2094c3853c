"""From the layout in which a publisher's tensors come to that of our layers."""

import math

import keras

from tlkit.models.tensors import Tensor

Map = tuple[int, ...]  # height, width, channels


def flattened_maps(model: keras.Model) -> dict[str, Map]:
    """Returns, for each Dense layer that sees a flattened map, the shape of that map.

    PyTorch flattens `[C, H, W]`, Keras `[H, W, C]`: the rows of such a layer's kernel are in another order.
    """
    makers = {id(layer.output): layer for layer in model.layers}
    found = {}
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Dense):
            continue
        before = makers.get(id(layer.input))
        while before is not None and not before.weights and not isinstance(before, keras.layers.Flatten):
            before = None if isinstance(before.input, list) else makers.get(id(before.input))
            if isinstance(before, keras.layers.InputLayer):
                break
        if isinstance(before, keras.layers.Flatten):
            found[layer.name] = tuple(before.input.shape[1:])
    return found


def keras_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape in Keras of a kernel of PyTorch: `[H, W, I, O]` of `[O, I, H, W]`, `[I, O]` of `[O, I]`."""
    return shape[2:] + shape[1::-1]


def from_torch(layer: keras.layers.Layer, tensors: list[Tensor], flattened: Map | None) -> list[Tensor]:
    """Lays out the tensors of a PyTorch module as Keras does. What fits no layer is returned as it is.

    Args:
        layer: The layer of ours that they are for.
        tensors: Of which the first is the kernel.
        flattened: The shape of the map that the layer sees flattened, if it does.
    """
    kernel, *others = tensors
    if isinstance(layer, keras.layers.DepthwiseConv2D) and len(kernel.shape) == 4:
        channels = layer.weights[0].shape[2]
        if kernel.shape[1] == 1 and kernel.shape[0] % channels == 0:
            kernel = kernel.shaped(channels, kernel.shape[0] // channels, *kernel.shape[2:]).turned((2, 3, 0, 1))
    elif len(kernel.shape) == 4:
        kernel = kernel.turned((2, 3, 1, 0))
    elif len(kernel.shape) == 2:
        if flattened is not None and math.prod(flattened) == kernel.shape[1]:
            height, width, channels = flattened
            kernel = kernel.shaped(kernel.shape[0], channels, height, width).turned((2, 3, 1, 0))
            kernel = kernel.shaped(math.prod(flattened), kernel.shape[-1])
        else:
            kernel = kernel.turned((1, 0))
    return [kernel, *others]


def fitted(layer: keras.layers.Layer, tensors: list[Tensor], *, normalized: bool) -> tuple[list[Tensor], Tensor | None]:
    """Adapts what others write in another, equal way.

    Args:
        layer: The layer of ours that they are for.
        tensors: In Keras' layout.
        normalized: Whether batch normalization follows the layer.

    Returns:
        The tensors (a 1x1 convolution is taken for a Dense), and the bias of a convolution that has none here: it is
        to be subtracted from the mean of the batch normalization behind, which does the same.
    """
    wanted = [tuple(weight.shape) for weight in layer.weights]
    if tensors and len(wanted[0]) == 2 and tensors[0].shape == (1, 1, *wanted[0]):
        tensors = [tensors[0].shaped(*wanted[0]), *tensors[1:]]
    if normalized and len(wanted) == 1 and len(tensors) == 2 and tensors[1].shape == (tensors[0].shape[-1],):
        return tensors[:1], tensors[1]
    return tensors, None
