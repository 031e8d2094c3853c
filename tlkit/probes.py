"""What `tlkit doctor` runs in a process of its own: each capability, really tried.

python probes.py NAME prints one line of JSON: {"detail"} when it works, {"missing"} names what is not installed,
{"error"} is what went wrong. It imports nothing of tlkit, so that it tells about the libraries alone.
"""

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any


def main(name: str) -> dict[str, str]:
    """Tries one capability."""
    modules, attempt = PROBES[name]
    for module in modules:
        if importlib.util.find_spec(module) is None:
            return {"missing": module}
    try:
        return {"detail": attempt()}
    except Exception as err:  # whatever a broken library raises is what the user must see
        lines = str(err).strip().splitlines() or [""]
        return {"error": f"{type(err).__name__}: {lines[0]}".rstrip(": ")}


def gpus() -> list[str]:
    """Returns the names of the NVIDIA GPUs that the driver sees; none without a driver."""
    if (program := shutil.which("nvidia-smi")) is None:
        return []
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _version(module: Any) -> str:  # noqa: ANN401
    return f"{module.__name__} {module.__version__}"


def train() -> str:
    """Trains one step with Keras."""
    import keras
    import numpy as np
    import tensorflow as tf

    if keras.backend.backend() not in ("tensorflow", "jax"):
        raise RuntimeError(f"Keras runs on {keras.backend.backend()}, tlkit needs it on tensorflow or jax")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", loss="mse")
    model.train_on_batch(np.ones((2, 4), "f4"), np.ones((2, 2), "f4"))
    seen, there = len(tf.config.list_physical_devices("GPU")), gpus()
    gpu = f"{seen} GPUs" if seen else "no GPU"
    if there and not seen:
        gpu = f"TensorFlow does not see the {there[0]}: pip install 'tensorflow[and-cuda]'"
    return f"{_version(tf)}, {_version(keras)}, {_machine()}, {gpu}"


def _machine() -> str:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return f"{cpus} CPUs"
    return f"{cpus} CPUs, {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB of memory"


def export_tflite() -> str:
    """Converts a function to TFLite."""
    import tensorflow as tf

    double = tf.function(lambda x: x + x, input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    content = tf.lite.TFLiteConverter.from_concrete_functions([double.get_concrete_function()]).convert()
    return f"converter of {_version(tf)} made {len(content)} bytes"


def verify_tflite() -> str:
    """Runs a model of one addition in LiteRT."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=adding_model())
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.full((1, 4), 3, np.float32))
    interpreter.invoke()
    found = interpreter.get_tensor(1).tolist()
    if found != [[6.0] * 4]:
        raise RuntimeError(f"3 + 3 gave {found}")
    return f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')} ran a model"


def adding_model() -> bytes:
    """Returns a .tflite file of tensor 1 = tensor 0 + tensor 0, both `[1, 4]` float32."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str) -> Any:  # noqa: ANN401
        one = schema.TensorT()
        one.name, one.shape, one.type, one.buffer = name, [1, 4], schema.TensorType.FLOAT32, 0
        return one

    code, operator, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode, code.version = schema.BuiltinOperator.ADD, 1
    operator.inputs, operator.outputs = [0, 0], [1]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor("x"), tensor("y")], [0], [1], [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def compress() -> str:
    """Wraps a Keras 2 layer for pruning."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(4,))])
    tfmot.sparsity.keras.prune_low_magnitude(model)
    return f"{_version(tfmot)}, {_version(tf_keras)}"


def onnx() -> str:
    """Checks a graph of one addition, runs it in ONNX Runtime, and imports the converter."""
    import numpy as np
    import onnx
    import onnxruntime
    import tf2onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "adding", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((1, 4), 3, np.float32)})
    if found.tolist() != [[6.0] * 4]:
        raise RuntimeError(f"3 + 3 gave {found.tolist()}")
    return f"{_version(onnx)}, {_version(onnxruntime)}, {_version(tf2onnx)}"


def tensorrt() -> str:
    """Imports TensorRT, which loads libnvinfer, and makes a builder where there is a GPU."""
    import tensorrt as trt

    there = gpus()
    if not there:
        raise RuntimeError(f"{_version(trt)} is installed, but nvidia-smi shows no GPU")
    trt.Builder(trt.Logger(trt.Logger.ERROR))
    return f"{_version(trt)} on {there[0]}"


# What must be installed, and what is tried.
PROBES: dict[str, tuple[tuple[str, ...], Callable[[], str]]] = {
    "train": (("tensorflow", "keras"), train),
    "export": (("tensorflow",), export_tflite),
    "verify": (("ai_edge_litert",), verify_tflite),
    "compress": (("tensorflow_model_optimization", "tf_keras"), compress),
    "onnx": (("onnx", "onnxruntime", "tf2onnx"), onnx),
    "tensorrt": (("tensorrt",), tensorrt),
}


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the libraries print is no result
    print(json.dumps(main(sys.argv[1])), file=out, flush=True)
