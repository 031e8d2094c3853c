"""Where a flat graph can be cut: its stages, its classifier, and the names that its layers get from that.

A stage is a group of calls of one resolution, in the order of the graph, with one tensor alone between it and the next:
so it can be frozen, and the model can be cut behind it (`tlkit.transfer.features.cut`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from keras import layers

from tlkit.models.graph import Call, Graph, GraphError, Value

# A map at most this much as wide as a stage's first begins the next stage; convolutions without padding take less.
_NEXT = 0.7
_EXPANSION = 3  # times as many channels: of inverted residuals, which take 3 to 6
# What may stand between the last feature map and the output.
_HEAD = (
    *(layers.Dense, layers.Dropout, layers.Flatten, layers.Reshape, layers.Activation, layers.Softmax, layers.ReLU),
    *(layers.BatchNormalization, layers.LayerNormalization, layers.Concatenate),
    *(layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D),
)
_NORMS = (layers.BatchNormalization, layers.LayerNormalization)
_GLOBAL = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.Flatten, layers.Reshape, layers.Dense)

# What treats the channels of an image alike.
_CHANNELS_APART = (layers.ZeroPadding2D, layers.Resizing, layers.CenterCrop, layers.MaxPooling2D, layers.Dropout)


def crossings(graph: Graph) -> Iterator[tuple[int, Value]]:
    """Yields every value that alone crosses from what is before to what comes after, with the index of its call.

    A layer whose weights are shared is used on one side only. Its own output is not among them: it has several.
    """
    last_use = {value: i for i, call in enumerate(graph.calls) for value in call.inputs}
    last_use[graph.output] = len(graph.calls)
    uses: dict[int, list[int]] = {}
    for i, call in enumerate(graph.calls):
        uses.setdefault(_sharing(call), []).append(i)
    live, inside = {graph.image}, 0  # `inside`: layers with shared weights that are used before and after
    for i, call in enumerate(graph.calls):
        own = uses[_sharing(call)]
        inside += (len(own) > 1 and i == own[0]) - (len(own) > 1 and i == own[-1])
        live = {value for value in (*live, *call.outputs) if last_use.get(value, -1) > i}
        if len(live) == 1 and not inside and len(own) == 1 and set(call.outputs) == live:
            yield i, call.outputs[0]


def _sharing(call: Call) -> int:
    """What calls that share a layer have in common; without values in it, each gets a layer of its own."""
    return id(call.operation if call.has_state else call)


def cut_head(graph: Graph) -> list[str]:
    """Cuts the classifier off: the output becomes the last feature map. Returns the names of the layers cut off.

    Shapes must be measured.

    Raises:
        GraphError: there is no feature map, or something that is no classifier comes after the last one.
    """
    last = None
    for i, value in crossings(graph):
        operation = graph.calls[i].operation
        if len(value.shape) != 4 or isinstance(operation, _GLOBAL):
            if not any(call.has_weights for call in graph.calls[:i]):
                continue  # at the input there may be reshaping too: our LeNet averages channels so
            break
        last = i, value
    if last is None or not any(call.has_weights for call in graph.calls[: last[0] + 1]):
        raise GraphError(
            "has no feature map [N, height, width, channels] between its input and its classifier that everything "
            "passes through: tlkit puts its own head behind such a map"
        )
    last = _before_scores(graph, last[0]) or last
    behind = graph.calls[last[0] + 1 :]
    for operation in (call.operation for call in behind if call.has_weights):
        if not isinstance(operation, _HEAD) and not _is_pointwise(operation):
            raise GraphError(
                f"does more than classify behind its last feature map ({graph.calls[last[0]].operation.name!r}): "
                f"the layer {operation.name!r} ({type(operation).__name__}) would be lost"
            )
    graph.calls, graph.output = graph.calls[: last[0] + 1], last[1]
    return [call.operation.name for call in behind]


def _before_scores(graph: Graph, last: int) -> tuple[int, Value] | None:
    """Returns what comes before a 1x1 convolution to class scores, which are then averaged (as NIN and SqueezeNet do).

    It is one if nothing after it has weights, not even a normalization, and the output is as wide as it.
    """
    weighty = max(i for i, call in enumerate(graph.calls) if call.has_weights)
    operation = graph.calls[weighty].operation
    scores = graph.output.shape[1:] == (getattr(operation, "filters", None),) and _is_pointwise(operation)
    if weighty > last or not scores or not any(call.has_weights for call in graph.calls[:weighty]):
        return None
    before = [(i, value) for i, value in crossings(graph) if i < weighty]
    return before[-1] if before else None


def _is_pointwise(operation: Any) -> bool:  # noqa: ANN401
    return isinstance(operation, layers.Conv2D) and set(operation.kernel_size) == {1}


def stage_ends(graph: Graph) -> list[int]:
    """Returns, for each stage from input to output, the index of the call that ends it. Shapes must be measured."""
    cuts = [
        (i, value)
        for i, value in crossings(graph)
        if i == len(graph.calls) - 1
        or (
            len(value.shape) == 4
            and isinstance(graph.calls[i].operation, layers.Layer)
            and not isinstance(graph.calls[i].operation, layers.ZeroPadding2D)  # it belongs to what comes after
        )
    ]
    ends: list[int] = []
    width = 0  # of the stage's first map
    for i, value in cuts:
        here = value.shape[2] or 0
        if not ends or not _NEXT * width < here < width / _NEXT:
            ends.append(i)
            width = here
        ends[-1] = i
    shapes = dict(cuts)
    return _with_weights(graph, [_before_expansion(graph, shapes, end) for end in ends[:-1]] + ends[-1:])


def _before_expansion(graph: Graph, cuts: dict[int, Value], end: int) -> int:
    """Gives a 1x1 expansion at the end of a stage to the next one, whose first block it begins.

    The map behind it is several times larger, and so would be what is cached.
    """
    for i in range(end, 0, -1):
        operation = graph.calls[i].operation
        if i not in cuts or i - 1 not in cuts:
            break
        if _is_pointwise(operation):
            before, after = cuts[i - 1].shape, cuts[end].shape
            expands = before[1:3] == after[1:3] and (after[3] or 0) >= _EXPANSION * (before[3] or 0)
            return i - 1 if expands else end
        if graph.calls[i].has_weights and not isinstance(operation, _NORMS):
            break
    return end


def _with_weights(graph: Graph, ends: list[int]) -> list[int]:
    """Joins stages without weights to the next one; the last to the one before."""
    kept, start = [], 0
    for end in ends:
        if any(call.has_weights for call in graph.calls[start : end + 1]):
            kept.append(end)
            start = end + 1
    kept[-1] = len(graph.calls) - 1
    return kept


def clean(name: str) -> str:
    """Returns a name of ASCII letters, digits and `_`: TensorFlow trains and exports no model with others."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def names_of(graph: Graph, ends: Sequence[int]) -> dict[Call, str]:
    """Returns a name for every call: its stage, `_`, and its layer's or operation's own name, cleaned.

    Calls that share a layer with weights share its name. Names that Keras numbers through a process (`conv2d_7`) are
    counted anew, so that they are the same everywhere.
    """
    names: dict[Call, str] = {}
    shared: dict[int, str] = {}
    taken: set[str] = set()
    for i, call in enumerate(graph.calls):
        if _sharing(call) in shared:
            names[call] = shared[_sharing(call)]
            continue
        own, kind = call.operation.name, type(call.operation).__name__.lower()
        if re.fullmatch(rf"{re.escape(kind)}\d*", own.replace("_", "")):
            own = re.sub(r"_\d+$", "", own)
        stage = f"stage{next(k for k, end in enumerate(ends, start=1) if i <= end)}"
        name, count = f"{stage}_{clean(own)}", 1
        while name in taken:
            count += 1
            name = f"{stage}_{clean(own)}_{count}"
        taken.add(name)
        names[call] = shared[_sharing(call)] = name
    return names


def first_convolutions(graph: Graph) -> list[Call]:
    """Returns the calls of the convolutions that see the image's channels.

    Raises:
        GraphError: something else sees them first.
    """
    reached, found = {graph.image}, list[Call]()
    for call in graph.calls:
        if not reached & set(call.inputs):
            continue
        if isinstance(call.operation, layers.Conv2D) and call.operation.groups == 1:
            found.append(call)
        elif call.has_weights or not isinstance(call.operation, _CHANNELS_APART):
            raise GraphError(
                f"begins with a {type(call.operation).__name__} ({call.operation.name!r}) where a Conv2D is needed to "
                "take channels in another order"
            )
        else:
            reached |= set(call.outputs)
    return found
