"""What a network consists of, layer by layer: shapes, activations, memory, parameters, multiply-accumulates.

Everything is read from the graph, so a model without values (`skeleton.py`) will do. One MAC is one
multiplication with its addition (2 FLOPs). Convolutions and fully connected layers have MACs; biases, pooling,
normalization and activations count as none, as in the papers.
"""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import keras
from keras import layers

from tlkit.errors import OptionError

FLOAT32_BYTES = 4
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_WEIGHTED = (*_CONVOLUTIONS, *_TRANSPOSED, *_SEPARABLE, layers.Dense)
# Weights of two or more axes that multiply nothing.
_LOOKUPS = (layers.Embedding, layers.PReLU, layers.BatchNormalization, layers.Normalization)
# What changes each value by itself, or none at all, can write over its input: a convolution with its batch norm and
# activation needs the memory of one with the activation inside.
_IN_PLACE = (
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.PReLU,
    layers.ELU,
    layers.BatchNormalization,
    layers.Normalization,
    layers.Rescaling,
    layers.Dropout,
    layers.Flatten,
    layers.Reshape,
)


@dataclass(frozen=True, kw_only=True)
class LayerSummary:
    """One layer, or one of several calls of it.

    Attributes:
        name: As in the model; `outer/inner` in a model inside the model.
        stage: What freezing would call it: the name up to the first `_`.
        kind: Its class in Keras.
        window: Side of kernel or pool, stride and groups where they are not 1: `11x11/4`, `5x5 groups=2`.
        shape: Of its output for one image, without the batch.
        size: Number of values in its output.
        in_place: Whether it can write over its input, so that it needs no memory of its own.
        memory: Of its output, in bytes at float32; 0 where it works in place.
        parameters: Those not counted with an earlier call; statistics of batch normalization included.
        trainable: Those of them that training moves, as the model is now.
        macs: Multiply-accumulates for one image.
    """

    name: str
    stage: str
    kind: str
    window: str
    shape: tuple[int, ...]
    size: int
    in_place: bool
    memory: int
    parameters: int
    trainable: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class StageSummary:
    """The layers of one stage together; the units are those of `LayerSummary`."""

    name: str
    layers: int
    memory: int
    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A network for one image.

    Attributes:
        name: The model's.
        layers: From input to output.
        depth: Convolutions and fully connected layers on the longest way through.
        uncounted: Layers that multiply in a way that is not known here: their MACs are missing.
    """

    name: str
    layers: tuple[LayerSummary, ...]
    depth: int
    uncounted: tuple[str, ...]

    @property
    def memory(self) -> int:
        """Bytes of all activations at float32, as training holds them for one image."""
        return sum(layer.memory for layer in self.layers)

    @property
    def parameters(self) -> int:
        """All parameters, statistics of batch normalization included."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        """Those that training moves."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def float32_bytes(self) -> int:
        """Bytes of the parameters at four each."""
        return FLOAT32_BYTES * self.parameters

    @property
    def int8_bytes(self) -> int:
        """Bytes of the parameters at one each; a file adds its graph, scales and 32-bit biases."""
        return self.parameters

    @property
    def stages(self) -> tuple[StageSummary, ...]:
        """Totals by stage, from input to output."""
        return tuple(
            StageSummary(
                name=stage,
                layers=len(inside),
                memory=sum(layer.memory for layer in inside),
                parameters=sum(layer.parameters for layer in inside),
                macs=sum(layer.macs for layer in inside),
            )
            for stage in dict.fromkeys(layer.stage for layer in self.layers)
            if (inside := [layer for layer in self.layers if layer.stage == stage])
        )


def summarize(model: keras.Model) -> Summary:
    """Counts what is in a model, layer by layer, models inside it included.

    Args:
        model: Any functional or sequential model whose input has a fixed size. It is neither run nor changed.

    Raises:
        OptionError: its input has no fixed size, or it has no graph of layers (a subclass with a `call` of its own).
    """
    graph = _graph(model)
    if graph is None:
        raise OptionError(
            f"{model.name} can't be summarized layer by layer: it is no functional or sequential model, or has not "
            "been built. Make it with keras.Model(inputs, outputs), or give a Sequential its keras.Input."
        )
    for x in graph.inputs:
        if None in x.shape[1:]:
            raise OptionError(
                f"{model.name} can't be summarized: its input {tuple(x.shape[1:])} has no fixed size, and the "
                "activations depend on it. Build it with a fixed input_shape."
            )
    counter = _Counter()
    inputs = [keras.KerasTensor((1, *x.shape[1:]), dtype=x.dtype) for x in graph.inputs]
    for x, named in zip(inputs, graph.inputs, strict=True):
        counter.add(None, named._keras_history.operation.name, x, [x])
    counter.run(graph, inputs, "")
    return Summary(
        name=model.name,
        layers=tuple(counter.rows),
        depth=max(counter.depths.values()),
        uncounted=tuple(dict.fromkeys(counter.uncounted)),
    )


@dataclass
class _Counter:
    """Runs a graph on shapes and writes down what each layer makes."""

    rows: list[LayerSummary] = field(default_factory=list)
    uncounted: list[str] = field(default_factory=list)
    depths: dict[int, int] = field(default_factory=dict)  # of tensors, by id
    _kept: list[keras.KerasTensor] = field(default_factory=list)  # or an id would be given twice
    _counted: set[int] = field(default_factory=set)  # weights

    def run(self, graph: Any, inputs: Any, prefix: str) -> Any:  # noqa: ANN401
        """Returns the symbolic outputs of a functional graph; `prefix` goes before the names of its layers."""
        place = {id(operation): i for i, operation in enumerate(graph.operations)}
        before, self.rows = self.rows, []
        found: list[tuple[int, list[LayerSummary]]] = []

        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            name = prefix + operation.name
            self.rows = []
            if (inner := _graph(operation)) is not None:
                outputs = self.run(inner, args[0], f"{name}/")
            else:
                outputs = operation.compute_output_spec(*args, **kwargs)
                self.add(operation, name, outputs, keras.tree.flatten((args, kwargs)))
            found.append((place[id(operation)], self.rows))
            return outputs

        outputs = graph._run_through_graph(inputs, call_fn=call)
        # Branches side by side run in any order; the model lists them in the order in which they were made.
        self.rows = [*before, *(row for _, rows in sorted(found, key=lambda one: one[0]) for row in rows)]
        return outputs

    def add(self, operation: Any, name: str, outputs: Any, given: list[Any]) -> None:  # noqa: ANN401
        """Writes down one call. `operation` is None for an input."""
        made = keras.tree.flatten(outputs)
        came = [x for x in given if isinstance(x, keras.KerasTensor)]
        weighted = isinstance(operation, _WEIGHTED)
        depth = max((self.depths.get(id(x), 0) for x in came), default=0) + weighted
        self.depths.update({id(x): depth for x in made})
        self._kept += made
        weights = [w for w in getattr(operation, "weights", ()) if id(w) not in self._counted]
        self._counted.update(id(w) for w in weights)
        if not weighted and not isinstance(operation, _LOOKUPS) and any(len(w.shape) > 1 for w in weights):
            self.uncounted.append(name)
        in_place = isinstance(operation, _IN_PLACE)
        size = sum(prod(x.shape[1:]) for x in made)
        self.rows.append(
            LayerSummary(
                name=name,
                stage=name.rpartition("/")[2].partition("_")[0],
                kind=type(operation).__name__ if operation else "Input",
                window=_window(operation),
                shape=tuple(made[0].shape[1:]),
                size=size,
                in_place=in_place,
                memory=0 if in_place else FLOAT32_BYTES * size,
                parameters=sum(prod(w.shape) for w in weights),
                trainable=sum(prod(w.shape) for w in weights if w.trainable),
                macs=_macs(operation, came[0], made[0]) if weighted else 0,
            )
        )


def _graph(operation: Any) -> Any:  # noqa: ANN401
    """Returns the graph of a functional or sequential model, None for anything else."""
    graph = getattr(operation, "_functional", None) if isinstance(operation, keras.Sequential) else operation
    return graph if isinstance(graph, keras.Model) and hasattr(graph, "_run_through_graph") else None


def _macs(layer: Any, given: keras.KerasTensor, made: keras.KerasTensor) -> int:  # noqa: ANN401
    """Counts a weighted layer's multiplications for one image: every weight of the kernel, at every position.

    A kernel is `[k, k, channels / groups, filters]`, so groups and depthwise filters need no case of their own.
    """
    if isinstance(layer, layers.Dense):
        return prod(layer.kernel.shape) * prod(made.shape[1:-1])
    at = given if isinstance(layer, _TRANSPOSED) else made
    positions = prod(at.shape[2:] if layer.data_format == "channels_first" else at.shape[1:-1])
    if isinstance(layer, _SEPARABLE):
        return (prod(layer.depthwise_kernel.shape) + prod(layer.pointwise_kernel.shape)) * positions
    return prod(layer.kernel.shape) * positions


def _window(layer: Any) -> str:  # noqa: ANN401
    sides = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if not sides:
        return ""
    strides, groups = getattr(layer, "strides", None) or (1,), getattr(layer, "groups", 1)
    text = "x".join(map(str, sides))
    if set(strides) != {1}:
        text += "/" + "x".join(map(str, strides if len(set(strides)) > 1 else strides[:1]))
    return f"{text} groups={groups}" if groups > 1 else text
