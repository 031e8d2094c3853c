"""Models that others made, as one flat graph: nested models are opened, random augmentation is left out."""

from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers


class GraphError(Exception):
    """A model's graph can't be used. The message is the end of a sentence that begins with the model."""


@dataclass(eq=False)
class Value:
    """A tensor between two calls. `shape` is known when the graph has been measured."""

    shape: tuple[int | None, ...] = ()


@dataclass(eq=False, kw_only=True)
class Call:
    """One use of a layer, or of an operation that is no layer. `args` and `kwargs` hold values where tensors go."""

    operation: Any
    args: Any
    kwargs: Any
    outputs: list[Value]

    @property
    def inputs(self) -> list[Value]:
        """The values among its arguments."""
        return [part for part in keras.tree.flatten((self.args, self.kwargs)) if isinstance(part, Value)]

    @property
    def has_weights(self) -> bool:
        """Whether training could move something in it, frozen or not."""
        return self.has_state and not isinstance(self.operation, layers.Normalization)

    @property
    def has_state(self) -> bool:
        """Whether its layer holds values, so that every use of it must be of one and the same layer."""
        return bool(getattr(self.operation, "weights", ()))

    def symbolic(self, tensors: dict[Value, Any]) -> tuple[Any, Any]:
        """Returns its arguments with tensors in place of values."""

        def filled(part: Any) -> Any:  # noqa: ANN401
            return tensors[part] if isinstance(part, Value) else part

        return keras.tree.map_structure(filled, self.args), keras.tree.map_structure(filled, self.kwargs)


@dataclass(eq=False, kw_only=True)
class Graph:
    """The calls from one image to one feature map, in the order of computation.

    Attributes:
        image, output: First and last value.
        calls: All that the output needs.
        dropped: Names of the layers that were left out: random augmentation.
    """

    image: Value
    output: Value
    calls: list[Call]
    dropped: list[str] = field(default_factory=list)


def flat(model: keras.Model) -> Graph:
    """Returns the graph of a model with one input and one output; nested models are opened, augmentation is left out.

    Raises:
        GraphError: it was made by subclassing, or has several inputs or outputs.
    """
    model = _functional(model)
    for what, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) != 1:
            raise GraphError(f"has {len(tensors)} {what}, and tlkit takes models with one")
    image = Value()
    graph = Graph(image=image, output=image, calls=[])
    graph.output = _open(model, [image], graph)[0]
    _prune(graph)
    return graph


def _functional(model: keras.Model) -> keras.Model:
    """Returns a model whose graph is known: a Sequential holds one."""
    if isinstance(model, keras.Sequential):
        model = getattr(model, "_functional", None) or model
    if not hasattr(model, "_nodes_by_depth"):
        why = "has not been built" if isinstance(model, keras.Sequential) else "was made by subclassing keras.Model"
        raise GraphError(f"{why} (layer {model.name!r}), so its graph is not known: use the functional API")
    return model


def _open(model: keras.Model, inputs: list[Value], graph: Graph) -> list[Value]:
    """Adds the calls of a model to the graph and returns its outputs."""
    values = dict(zip(map(id, model.inputs), inputs, strict=True))
    # What Keras itself runs a model by; there is no public way to the calls.
    by_depth = model._nodes_by_depth
    for node in (node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]):
        if node.is_input:
            continue

        def valued(part: Any) -> Any:  # noqa: ANN401
            return values[id(part)] if isinstance(part, keras.KerasTensor) else part

        args, kwargs = node.arguments.convert(valued)
        call = Call(operation=node.operation, args=args, kwargs=kwargs, outputs=[Value() for _ in node.outputs])
        outputs = call.outputs
        if isinstance(node.operation, keras.Model):
            outputs = _open(_functional(node.operation), call.inputs, graph)
        elif _is_augmentation(node.operation):
            outputs = call.inputs
            graph.dropped.append(node.operation.name)
        else:
            graph.calls.append(call)
        values.update(zip(map(id, node.outputs), outputs, strict=True))
    return [values[id(tensor)] for tensor in model.outputs]


def _is_augmentation(operation: Any) -> bool:  # noqa: ANN401
    """Whether a layer changes images at random, in training alone."""
    base = next((c for c in type(operation).__mro__ if c.__name__ == "BaseImagePreprocessingLayer"), None)
    return base is not None and not isinstance(operation, layers.Resizing | layers.CenterCrop)


def _prune(graph: Graph) -> None:
    """Leaves out calls that the output does not need."""
    needed, kept = {graph.output}, []
    for call in reversed(graph.calls):
        if needed & set(call.outputs):
            needed |= set(call.inputs)
            kept.append(call)
    graph.calls = kept[::-1]


def measure(graph: Graph, input_size: int) -> None:
    """Writes the shape of every value for an input size in pixels.

    Raises:
        GraphError: the layers do not fit that size.
    """
    tensors: dict[Value, Any] = {graph.image: keras.KerasTensor((None, input_size, input_size, 3))}
    for call in graph.calls:
        args, kwargs = call.symbolic(tensors)
        try:
            found = keras.tree.flatten(call.operation.compute_output_spec(*args, **kwargs))
        except Exception as err:  # what a layer raises is its own affair
            reason = (str(err).strip() or type(err).__name__).splitlines()[0]
            raise GraphError(
                f"can't take {input_size} pixels (layer {call.operation.name!r}: {reason}). Try another --input-size"
            ) from err
        tensors.update(zip(call.outputs, found, strict=True))
    for value, tensor in tensors.items():
        value.shape = tuple(tensor.shape)
        if 0 in value.shape[1:]:
            raise GraphError(f"can't take {input_size} pixels: nothing would be left. Use a larger --input-size")


def rebuild(graph: Graph, image: keras.KerasTensor, names: dict[Call, str]) -> keras.KerasTensor:
    """Builds the graph anew on a tensor, with random weights, and returns its output.

    Calls of one name share a layer.

    Raises:
        GraphError: a layer can't be made from its config.
    """
    tensors: dict[Value, Any] = {graph.image: image}
    made: dict[str, Any] = {}
    for call in graph.calls:
        name = names[call]
        if name not in made:
            made[name] = _copy(call.operation, name)
        args, kwargs = call.symbolic(tensors)
        outputs = keras.tree.flatten(made[name](*args, **kwargs))
        tensors.update(zip(call.outputs, outputs, strict=True))
    return tensors[graph.output]


def _copy(operation: Any, name: str) -> Any:  # noqa: ANN401
    try:
        config = {**operation.get_config(), "name": name}
        if isinstance(operation, keras.layers.BatchNormalization):
            # As in `blocks.conv_bn`: from scratch, Keras' 0.99 or 0.999 would need thousands of steps. Pretrained
            # statistics do not move at all.
            config["momentum"] = min(config["momentum"], 0.9)
        return type(operation).from_config(config)
    except Exception as err:  # what a layer raises is its own affair
        reason = (str(err).strip() or type(err).__name__).splitlines()[0]
        raise GraphError(
            f"has a layer {operation.name!r} ({type(operation).__name__}) that can't be made from its config: {reason}"
        ) from err
