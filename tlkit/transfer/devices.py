"""Data parallel training: the same model on several devices, each with its part of every batch.

A step on N devices is the step that one device would make of the same batch: losses are summed and divided by the size
of the whole batch, whatever part of it a device gets, and trained batch norms take the statistics of all parts.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from tlkit.errors import OptionError
from tlkit.progress import Progress

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

MOST = 64


def check(devices: Any) -> None:  # noqa: ANN401
    """Checks `--devices` by itself.

    Raises:
        OptionError: it is neither a number of devices nor `all`.
    """
    if devices != "all" and (not isinstance(devices, int) or not 1 <= devices <= MOST):
        raise OptionError(f"--devices must be a whole number from 1 to {MOST}, or all, not {devices!r}.")


def start(devices: int | str, progress: Progress) -> None:
    """Makes sure that there are as many devices; on a machine without a GPU the CPU is divided.

    That must happen before TensorFlow has computed anything.

    Raises:
        OptionError: there are fewer GPUs, TensorFlow has begun with fewer devices, or another backend is to train.
    """
    check(devices)
    if devices == 1:
        return
    import keras

    if (backend := keras.backend.backend()) != "tensorflow":
        raise OptionError(f"--devices {devices} needs Keras' TensorFlow backend, not {backend}. Leave it out.")
    if devices == "all":
        return
    import tensorflow as tf

    assert isinstance(devices, int)  # as was checked
    if gpus := tf.config.get_visible_devices("GPU"):
        if devices > len(gpus):
            has = "1 GPU" if len(gpus) == 1 else f"{len(gpus)} GPUs"
            raise OptionError(f"--devices {devices} was given, and there are {has}. Use --devices all.")
        return
    try:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    except RuntimeError:  # it has begun
        if len(tf.config.list_logical_devices("CPU")) < devices:
            raise OptionError(
                f"--devices {devices} was given, and there is no GPU. The CPU can be divided only before TensorFlow "
                "has computed anything: use a new process."
            ) from None
    progress.say(
        f"--devices {devices}: there is no GPU, so {devices} logical devices share the CPU; that is good for tests "
        "alone, and slower than one"
    )


def strategy_for(devices: int | str) -> "tf.distribute.Strategy | None":
    """Returns what distributes a training on the first devices; None for one."""
    if devices == 1:
        return None
    import tensorflow as tf

    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    if devices != "all":
        names = names[: int(devices)]
    elif kind == "CPU":
        names = names[:1]
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else None


def strategy_of(model: "keras.Model") -> "tf.distribute.Strategy | None":
    """Returns the strategy under which a model was built; None for one device."""
    import keras

    if keras.backend.backend() != "tensorflow" or not model.variables:
        return None
    import tensorflow as tf

    value = model.variables[0].value
    return value.distribute_strategy if isinstance(value, tf.distribute.DistributedValues) else None


def scope(strategy: "tf.distribute.Strategy | None") -> AbstractContextManager[Any]:
    """Returns the context in which variables are made on all devices."""
    return nullcontext() if strategy is None else strategy.scope()


def replicated(
    strategy: "tf.distribute.Strategy", step: Callable[..., tuple[Any, Any]]
) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """Returns a step on a whole batch from one on a part of it.

    A device without a photo (the last batch may be smaller than the number of devices) gets one that does not count.

    Args:
        strategy: Of the model.
        step: From inputs, labels, weights and `mean`, which is to be taken of losses, to sums over the part.
    """
    import tensorflow as tf

    count = strategy.num_replicas_in_sync

    def part(x: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        with tf.device("/CPU:0"):  # a device gets its own part alone
            total = tf.shape(x)[0]
            first, last = total * index // count, total * (index + 1) // count
            present = tf.cast(last > first, tf.float32)
            rows = slice(first, tf.maximum(last, first + 1))
            x, labels, weights = x[rows], labels[rows], weights[rows] * present
        size = tf.cast(total, tf.float32)
        losses, right = step(x, labels, weights, lambda values: tf.reduce_sum(values) / size)
        return losses * present, right * present

    def whole(x: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        losses, right = strategy.run(part, args=(x, labels, weights))
        return strategy.reduce("SUM", losses, axis=None), strategy.reduce("SUM", right, axis=None)

    return whole
