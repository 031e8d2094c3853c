"""Every conflict is found from versions and settings alone, and named with its remedy."""

import pytest

from tlkit.conflicts import CHECKS, Environment, find_conflicts, this_environment

HEALTHY = {
    "absl-py": "1.4.0",
    "ai-edge-litert": "2.3.0",
    "keras": "3.15.1",
    "numpy": "2.4.6",
    "protobuf": "6.33.1",
    "tensorflow": "2.21.0",
    "tensorflow-model-optimization": "0.8.1",
    "tf-keras": "2.21.0",
}


def conflicts(versions=None, variables=None, python=(3, 11), nvinfer=False, without=()):
    installed = {name: version for name, version in HEALTHY.items() if name not in without} | (versions or {})
    return find_conflicts(Environment(versions=installed, variables=variables or {}, python=python, nvinfer=nvinfer))


CASES = {
    "tensorflow_cpu": (
        {"versions": {"tensorflow-cpu": "2.20.0"}},
        "tensorflow 2.21.0 and tensorflow-cpu 2.20.0",
        "both install the same files",
        "pip uninstall -y tensorflow-cpu tensorflow && pip install --no-deps 'tensorflow==2.21.0'",
    ),
    "mediapipe": (
        {"versions": {"mediapipe": "0.10.14", "protobuf": "4.25.8"}},
        "mediapipe 0.10.14 and protobuf 4.25.8",
        "it belongs in an environment of its own",
        "pip uninstall -y mediapipe && pip install --upgrade protobuf tlkit",
    ),
    "tflite_runtime_numpy": (
        {"versions": {"tflite-runtime": "2.14.0"}},
        "tflite-runtime 2.14.0 and numpy 2.4.6",
        "crashes with NumPy 2",
        "pip uninstall -y tflite-runtime",
    ),
    "tflite_runtime_python": (
        {"versions": {"tflite-runtime": "2.14.0", "numpy": "1.26.4"}, "python": (3, 12)},
        "tflite-runtime 2.14.0 on Python 3.12",
        "its last wheels are for Python 3.11",
        "pip uninstall -y tflite-runtime",
    ),
    "old_absl": (
        {"versions": {"absl-py": "1.2.0"}},
        "absl-py 1.2.0 and tensorflow-model-optimization 0.8.1",
        "1.4.0 is the oldest absl-py",
        "pip install --upgrade 'absl-py>=1.4'",
    ),
    "tensorrt_libraries": (
        {"versions": {"tensorrt": "11.4.0", "tensorrt-cu12-bindings": "11.4.0"}},
        "tensorrt-cu12-bindings 11.4.0",
        "a source archive that downloads libnvinfer from NVIDIA",
        "pip install --extra-index-url https://pypi.nvidia.com 'tensorrt-cu12-libs==11.4.0'",
    ),
    "torchvision": (
        {"versions": {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}},
        "torchvision 0.28.0 and torch 2.13.0+cpu",
        "operator torchvision::nms does not exist",
        "--index-url https://download.pytorch.org/whl/cpu",
    ),
    "keras_backend": (
        {"variables": {"KERAS_BACKEND": "jax"}},
        "KERAS_BACKEND=jax",
        "Keras takes another backend",
        "unset KERAS_BACKEND",
    ),
    "legacy_keras": (
        {"variables": {"TF_USE_LEGACY_KERAS": "1"}},
        "TF_USE_LEGACY_KERAS=1",
        "tf.keras becomes Keras 2",
        "unset TF_USE_LEGACY_KERAS",
    ),
    "tf_keras": (
        {"without": ("tf-keras",)},
        "tensorflow-model-optimization 0.8.1 without tf-keras",
        "compresses Keras 2 models only",
        "pip install 'tlkit[compress]'",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_conflict_names_what_is_installed_what_goes_wrong_and_the_command(name):
    given, found, problem, remedy = CASES[name]
    (conflict,) = conflicts(**given)
    assert conflict.found == found
    assert problem in conflict.problem
    assert remedy in conflict.remedy


def test_every_check_has_a_case():
    assert [check.__name__ for check in CHECKS] == list(CASES)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"versions": {"absl-py": "2.5.1"}},
        {"versions": {"tflite-runtime": "2.14.0", "numpy": "1.26.4"}},
        {"versions": {"tensorrt": "11.4.0", "tensorrt-cu13-bindings": "11.4.0", "tensorrt-cu13-libs": "11.4.0"}},
        {"versions": {"tensorrt": "10.16.1"}, "nvinfer": True},
        {"versions": {"torch": "2.13.0", "torchvision": "0.28.0"}},
        {"versions": {"torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu"}},
        {"versions": {"torch": "2.12.0+cpu", "torchvision": "0.27.1"}},
        {"variables": {"KERAS_BACKEND": "tensorflow", "TF_USE_LEGACY_KERAS": "0"}},
        {"versions": {"tensorflow-cpu": "2.21.0"}, "without": ("tensorflow",)},
        {"without": ("tensorflow-model-optimization", "tf-keras")},
    ],
    ids=str,
)
def test_what_goes_well_together_is_no_conflict(given):
    assert conflicts(**given) == []


def test_several_conflicts_are_all_found():
    found = conflicts({"mediapipe": "1.2.2", "tensorflow-cpu": "2.21.0"}, {"KERAS_BACKEND": "torch"})
    assert [conflict.found.split()[0] for conflict in found] == ["tensorflow", "mediapipe", "KERAS_BACKEND=torch"]


def test_names_of_distributions_are_read_in_one_spelling():
    versions = this_environment().versions
    assert {"ai-edge-litert", "tensorflow", "keras", "numpy"} <= set(versions)
    assert versions["keras"].startswith("3.")
