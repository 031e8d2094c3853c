"""Run by test_devices.py in a process of its own: one training on one device and on two, and what differs.

    python -m tests.transfer.two_devices CASE

Writes a line of JSON.
"""

import json
import sys

import numpy as np

from tlkit.progress import Progress
from tlkit.transfer import devices

CASES = {
    "frozen": {"batch_norm": "frozen"},
    "trained": {"batch_norm": "train", "ema": 0.9, "weight_decay": 0.1},
    "float16": {"batch_norm": "with its stage"},
}


def network():
    import keras

    keras.utils.set_random_seed(0)
    image = x = keras.Input((8, 8, 3))
    for i in (1, 2):
        x = keras.layers.Conv2D(6, 3, strides=2, use_bias=False, padding="same", name=f"stage{i}_conv")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"stage{i}_conv_bn")(x)
        x = keras.layers.Activation("relu", name=f"stage{i}_conv_relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    return keras.Model(image, keras.layers.Dense(3, name="head_logits")(x))


def trained(strategy, policy, **recipe):
    """Returns the variables after some steps, and what the steps gave."""
    from tlkit.transfer.schedule import Schedule
    from tlkit.transfer.training import Recipe, compile_for_training
    from tlkit.transfer.twin import copy_weights, twin_of

    model = network()
    twin = twin_of(model, policy, strategy)
    schedule = Schedule(epochs=1, batch_size=8, learning_rate=1e-3, patience=0)
    compiled = compile_for_training(twin, schedule, steps=12, recipe=Recipe(**recipe))
    random = np.random.default_rng(0)
    answers = []
    for size in (8, 7, 8, 1, 8, 5, 8, 8):  # odd ones, and one that leaves a device without a photo
        labels = random.integers(0, 3, size)
        x = random.normal(size=(size, 8, 8, 3)).astype(np.float32) + labels[:, None, None, None]
        answers.append(compiled.train_on_batch(x, labels, np.array([1.0, 2.0, 0.5], np.float32)[labels]))
    copy_weights(twin, model)
    averages = [np.asarray(average) for average in compiled.averages]
    return [np.asarray(weight) for weight in model.weights] + averages, np.array(answers)


def main(case):
    devices.start(2, Progress())
    strategy = devices.strategy_for(2)
    policy = "mixed_float16" if case == "float16" else "float32"
    one, answers = trained(None, policy, **CASES[case])
    two, also = trained(strategy, policy, **CASES[case])
    begun = [np.asarray(weight) for weight in network().weights]
    found = {
        "replicas": strategy.num_replicas_in_sync,
        "moved": max(float(np.abs(a - b).max()) for a, b in zip(one, begun, strict=False)),
        "difference": max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True)),
        "losses": float(np.abs(answers[:, 0] - also[:, 0]).max()),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
