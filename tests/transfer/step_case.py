"""Steps of training on any backend, from given weights: `python -m tests.transfer.step_case GIVEN OUT CASE...`."""

import sys

import numpy as np

STAGES = ("stem", "stage1")
BATCHES = (8, 8, 5)  # the last one is smaller, as that of an epoch
CASES = {
    "all": {"frozen": (), "recipe": {"batch_norm": "train"}},
    "its stage": {"frozen": ("stem",), "recipe": {"batch_norm": "with its stage"}},
    "everything": {
        "frozen": (),
        "recipe": {
            "batch_norm": "frozen",
            "layer_decay": 0.5,
            "weight_decay": 0.1,
            "label_smoothing": 0.1,
            "ema": 0.9,
            "auxiliary_weight": 0.3,
        },
    },
}


def build(auxiliary):
    """Returns a small network of two stages, each with a batch norm."""
    import keras

    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, use_bias=False, name="stem_conv")(image)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    side = layers.GlobalAveragePooling2D(name="aux1_pool")(x)
    x = layers.Conv2D(6, 2, use_bias=False, name="stage1_conv")(x)
    x = layers.ReLU(name="stage1_relu")(layers.BatchNormalization(name="stage1_norm")(x))
    x = layers.Dense(3, name="head_logits")(layers.GlobalAveragePooling2D(name="head_pool")(x))
    return keras.Model(image, [x, layers.Dense(3, name="aux1_logits")(side)] if auxiliary else x)


def train(case, given):
    """Trains as many steps as there are batches; returns all that they have moved, and what they report."""
    import keras

    from tlkit.transfer.schedule import Schedule
    from tlkit.transfer.training import Recipe, compile_for_training

    recipe = Recipe(**CASES[case]["recipe"])
    model = build(bool(recipe.auxiliary_weight))
    model.set_weights([given[f"{case} w{i}"] for i in range(len(model.weights))])
    compiled = compile_for_training(
        model,
        Schedule(epochs=1, batch_size=8, learning_rate=0.01, patience=0),
        steps=len(BATCHES),
        frozen=CASES[case]["frozen"],
        recipe=recipe,
        stages=STAGES,
    )
    told, start = [], 0
    for number, size in enumerate(BATCHES):
        if number == 2 and not recipe.ema:  # as a phase that is begun again
            compiled.optimizer.begin_again(0.5)
        batch = slice(start, start + size)
        told.append(compiled.train_on_batch(given["x"][batch], given["y"][batch], given["weights"][batch]))
        start += size
    values = [*model.weights, *compiled.averages, *compiled.optimizer.variables]
    return [keras.ops.convert_to_numpy(value) for value in values], np.array(told)


def make(path):
    """Writes photos, labels, weights in the loss, and for each case those of the network."""
    random = np.random.default_rng(0)
    count = sum(BATCHES)
    arrays = {
        "x": random.normal(0, 1, (count, 8, 8, 3)).astype(np.float32),
        "y": random.integers(0, 3, count),
        "weights": random.uniform(0.5, 2, count).astype(np.float32),
    }
    for case, about in CASES.items():
        weights = build("auxiliary_weight" in about["recipe"]).get_weights()
        arrays |= {f"{case} w{i}": weight for i, weight in enumerate(weights)}
    np.savez(path, **arrays)


if __name__ == "__main__":
    given = np.load(sys.argv[1])
    found = {}
    for case in sys.argv[3:]:
        values, told = train(case, given)
        found |= {f"{case} {i}": value for i, value in enumerate(values)} | {f"{case} told": told}
    assert "tensorflow" not in sys.modules
    np.savez(sys.argv[2], **found)
