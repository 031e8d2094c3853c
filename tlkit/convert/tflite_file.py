"""What a .tflite file says of itself: its operations and its minimum runtime."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tlkit.errors import TlkitError

# Operations with weights: none of these may be float in an int8 artifact.
_WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D", "BATCH_MATMUL"}
_OPERATIONS = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_TYPES = {code: name for name, code in vars(schema.TensorType).items() if not name.startswith("_")}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation: its name, the name of its first output, and whether it computes in floating point."""

    name: str
    output: str
    is_float: bool


def operations(content: bytes) -> list[Operation]:
    """Lists the operations of a .tflite file, in order."""
    model = schema.Model.GetRootAs(content, 0)
    found = []
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        for i in range(graph.OperatorsLength()):
            operator = graph.Operators(i)
            code = model.OperatorCodes(operator.OpcodeIndex())
            builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            outputs = [graph.Tensors(operator.Outputs(j)) for j in range(operator.OutputsLength())]
            found.append(
                Operation(
                    name=_OPERATIONS.get(builtin, str(builtin)),
                    output=outputs[0].Name().decode() if outputs else "",
                    is_float=any(_TYPES[tensor.Type()].startswith(("FLOAT", "BFLOAT")) for tensor in outputs),
                )
            )
    return found


def float_operations(content: bytes) -> list[str]:
    """Returns the names of all floating-point operations, each once, sorted."""
    return sorted({operation.name for operation in operations(content) if operation.is_float})


def weights_by_type(content: bytes) -> dict[str, int]:
    """Returns how many numbers of each type a .tflite file holds as constants, such as `{"INT8": 2202560}`."""
    model = schema.Model.GetRootAs(content, 0)
    found: Counter[str] = Counter()
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        for i in range(graph.TensorsLength()):
            tensor = graph.Tensors(i)
            if model.Buffers(tensor.Buffer()).DataLength():
                found[_TYPES[tensor.Type()]] += int(np.prod(tensor.ShapeAsNumpy())) if tensor.ShapeLength() else 1
    return dict(found)


def check_weights(content: bytes, wanted: str) -> None:
    """Checks that most weights of a file are of the type that its precision promises.

    Raises:
        TlkitError: they are not.
    """
    found = weights_by_type(content)
    if 2 * found.get(wanted, 0) <= sum(found.values()):
        held = ", ".join(f"{count:,} {name}" for name, count in sorted(found.items())) or "none"
        raise TlkitError(
            f"The converter was asked for {wanted} weights and wrote {held}. That file was not kept. "
            "Export with --precision float32."
        )


def check_int8(content: bytes) -> None:
    """Checks that no operation with weights is left in float.

    Raises:
        TlkitError: one is.
    """
    left = [op for op in operations(content) if op.is_float and op.name in _WEIGHTED]
    if left:
        names = ", ".join(f"{op.name} ({op.output})" for op in left[:3])
        raise TlkitError(
            f"The converter left {len(left)} operations with weights in float: {names}. That file is not int8, and "
            "was not kept. Export with --precision float32."
        )


def check_no_auxiliaries(content: bytes) -> None:
    """Checks that nothing of an auxiliary classifier came into a file; their layers are named `aux<number>_...`.

    Raises:
        TlkitError: something did.
    """
    model = schema.Model.GetRootAs(content, 0)
    graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
    names = [graph.Tensors(i).Name().decode() for graph in graphs for i in range(graph.TensorsLength())]
    if left := [name for name in names if re.search(r"(^|[/;])aux\d+_", name)]:
        raise TlkitError(
            f"The file holds {len(left)} tensors of auxiliary classifiers, such as {left[0]}. Please report it."
        )


def min_runtime(content: bytes) -> str | None:
    """Returns the oldest TensorFlow Lite runtime that has every operation, as the converter noted it in the file."""
    model = schema.Model.GetRootAs(content, 0)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if entry.Name() == b"min_runtime_version":
            data = model.Buffers(entry.Buffer()).DataAsNumpy()
            return np.asarray(data).tobytes().decode().strip("\0") or None
    return None
