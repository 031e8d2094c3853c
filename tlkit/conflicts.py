"""What goes wrong when certain versions, or settings, meet in one environment. Each was seen to happen."""

import ctypes.util
import importlib.metadata
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the checks look at.

    Attributes:
        versions: Of installed distributions, by lower-case name with dashes.
        variables: Of the process.
        python: Major and minor version.
        nvinfer: Whether the system has TensorRT's library outside Python.
    """

    versions: Mapping[str, str]
    variables: Mapping[str, str]
    python: tuple[int, int]
    nvinfer: bool = False


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """What is installed, what goes wrong, and the command that repairs it."""

    found: str
    problem: str
    remedy: str


def this_environment() -> Environment:
    """Returns the environment of this process."""
    versions: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        if name := distribution.metadata["Name"]:
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return Environment(
        versions=versions,
        variables=dict(os.environ),
        python=sys.version_info[:2],
        nvinfer=ctypes.util.find_library("nvinfer") is not None,
    )


def find_conflicts(environment: Environment) -> list[Conflict]:
    """Returns every conflict in an environment."""
    return [conflict for check in CHECKS if (conflict := check(environment)) is not None]


def _numbers(version: str) -> tuple[int, ...]:
    """Returns the leading numbers of a version: `2.0.0rc1` is (2, 0, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def _found(env: Environment, *names: str) -> str:
    """Names what is installed: `numpy 2.4.6 and tflite-runtime 2.14.0`."""
    return " and ".join(f"{name} {env.versions[name]}" for name in names if name in env.versions)


def tensorflow_cpu(env: Environment) -> Conflict | None:
    """`tensorflow-cpu` and `tensorflow` write the same files."""
    if not {"tensorflow", "tensorflow-cpu"} <= set(env.versions):
        return None
    return Conflict(
        found=_found(env, "tensorflow", "tensorflow-cpu"),
        problem="both install the same files (tf-keras pulls tensorflow in), and each breaks the other",
        remedy="pip uninstall -y tensorflow-cpu tensorflow && "
        f"pip install --no-deps 'tensorflow=={env.versions['tensorflow']}'",
    )


def mediapipe(env: Environment) -> Conflict | None:
    """`mediapipe` holds protobuf back."""
    if "mediapipe" not in env.versions:
        return None
    return Conflict(
        found=_found(env, "mediapipe", "protobuf"),
        problem="beside tlkit's packages, resolvers fall back in silence to mediapipe 0.10.14 and protobuf 4.25; "
        "it belongs in an environment of its own",
        remedy="pip uninstall -y mediapipe && pip install --upgrade protobuf tlkit",
    )


def tflite_runtime_numpy(env: Environment) -> Conflict | None:
    """`tflite-runtime` was built against NumPy 1 and does not say so."""
    if "tflite-runtime" not in env.versions or _numbers(env.versions.get("numpy", "0")) < (2,):
        return None
    return Conflict(
        found=_found(env, "tflite-runtime", "numpy"),
        problem="its interpreter crashes with NumPy 2; tlkit proves artifacts in ai-edge-litert instead, "
        "and tflite-runtime belongs on the device, with numpy<2",
        remedy="pip uninstall -y tflite-runtime",
    )


def tflite_runtime_python(env: Environment) -> Conflict | None:
    """`tflite-runtime` has no wheel above Python 3.11."""
    if "tflite-runtime" not in env.versions or env.python <= (3, 11):
        return None
    return Conflict(
        found=f"{_found(env, 'tflite-runtime')} on Python {env.python[0]}.{env.python[1]}",
        problem="its last wheels are for Python 3.11, so what is installed is not what was tested",
        remedy="pip uninstall -y tflite-runtime",
    )


def old_absl(env: Environment) -> Conflict | None:
    """`tensorflow-model-optimization` holds absl-py back; 1.4.0 is the oldest that was run."""
    if "absl-py" not in env.versions or _numbers(env.versions["absl-py"]) >= (1, 4):
        return None
    return Conflict(
        found=_found(env, "absl-py", "tensorflow-model-optimization"),
        problem="1.4.0 is the oldest absl-py with which tlkit has been run",
        remedy="pip install --upgrade 'absl-py>=1.4'",
    )


def tensorrt_libraries(env: Environment) -> Conflict | None:
    """PyPI's `tensorrt` downloads its libraries from elsewhere while it is installed."""
    bindings = next((name for name in env.versions if re.fullmatch(r"tensorrt(-cu\d+)?-bindings", name)), None)
    has_libraries = any(re.fullmatch(r"tensorrt(-cu\d+)?-libs", name) for name in env.versions)
    installed = bindings or ("tensorrt" if "tensorrt" in env.versions else None)
    if installed is None or has_libraries or env.nvinfer:
        return None
    package = bindings.removesuffix("-bindings") if bindings else "tensorrt-cu13"
    return Conflict(
        found=_found(env, installed),
        problem="PyPI's package is a source archive that downloads libnvinfer from NVIDIA when it is installed, "
        "and that has not happened: importing it fails",
        remedy=f"pip install --extra-index-url https://pypi.nvidia.com '{package}-libs=={env.versions[installed]}'",
    )


def torchvision(env: Environment) -> Conflict | None:
    """`torchvision` from PyPI expects a torch with CUDA."""
    torch, vision = env.versions.get("torch", ""), env.versions.get("torchvision", "")
    if not torch.endswith("+cpu") or not vision or vision.endswith("+cpu") or _numbers(vision) < (0, 28):
        return None
    return Conflict(
        found=_found(env, "torchvision", "torch"),
        problem="importing torchvision fails beside a torch for CPUs (operator torchvision::nms does not exist)",
        remedy="pip install --force-reinstall --no-deps torchvision --index-url https://download.pytorch.org/whl/cpu",
    )


def keras_backend(env: Environment) -> Conflict | None:
    """Conversion needs TensorFlow; JAX is for training alone (docs/backends.md)."""
    backend = env.variables.get("KERAS_BACKEND") or "tensorflow"
    if backend == "tensorflow":
        return None
    return Conflict(
        found=f"KERAS_BACKEND={backend}",
        problem="tlkit exports on TensorFlow, and Keras takes another backend",
        remedy="unset KERAS_BACKEND",
    )


def legacy_keras(env: Environment) -> Conflict | None:
    """TensorFlow hands out Keras 2 when it is told to."""
    value = env.variables.get("TF_USE_LEGACY_KERAS", "")
    if value.lower() not in ("1", "true"):
        return None
    return Conflict(
        found=f"TF_USE_LEGACY_KERAS={value}",
        problem="tf.keras becomes Keras 2, whose models tlkit's Keras 3 can't take",
        remedy="unset TF_USE_LEGACY_KERAS",
    )


def tf_keras(env: Environment) -> Conflict | None:
    """`tensorflow-model-optimization` works on Keras 2 models only and does not ask for Keras 2."""
    if "tensorflow-model-optimization" not in env.versions or "tf-keras" in env.versions:
        return None
    return Conflict(
        found=f"{_found(env, 'tensorflow-model-optimization')} without tf-keras",
        problem="it compresses Keras 2 models only, and can't be imported without tf-keras",
        remedy="pip install 'tlkit[compress]'",
    )


CHECKS: tuple[Callable[[Environment], Conflict | None], ...] = (
    tensorflow_cpu,
    mediapipe,
    tflite_runtime_numpy,
    tflite_runtime_python,
    old_absl,
    tensorrt_libraries,
    torchvision,
    keras_backend,
    legacy_keras,
    tf_keras,
)
