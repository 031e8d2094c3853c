"""The transfer-learning tutorial that everybody copies, in plain Keras: the other side of `speed.py`.

    python benchmarks/keras_tutorial.py DATA WEIGHTS --input-size 224 --epochs 10

DATA holds train/<class>/* and test/<class>/*, WEIGHTS is a file for keras.applications.MobileNetV2 with its top.
`image_dataset_from_directory`, a frozen base, `fit` with a validation split, one evaluation on the test photos, the
model saved; no augmentation. Prints one line of JSON: test accuracy and the seconds of each part.
"""

import argparse
import json
import time

started = time.perf_counter()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights")
    parser.add_argument("--input-size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", default=None, help="where to save the model, a .keras file")
    options = parser.parse_args()
    seconds = {"import": time.perf_counter() - started}

    keras.utils.set_random_seed(options.seed)
    size = (options.input_size, options.input_size)
    common = {"image_size": size, "batch_size": options.batch_size, "verbose": False}
    train, val = keras.utils.image_dataset_from_directory(
        f"{options.data}/train", validation_split=0.2, subset="both", seed=options.seed, **common
    )
    test = keras.utils.image_dataset_from_directory(f"{options.data}/test", shuffle=False, **common)
    classes = train.class_names
    train, val, test = (split.prefetch(tf.data.AUTOTUNE) for split in (train, val, test))

    whole = keras.applications.MobileNetV2(weights=options.weights, input_shape=(*size, 3))
    base = keras.Model(whole.input, whole.get_layer("out_relu").output)
    base.trainable = False
    image = keras.Input((*size, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(image)
    x = base(x, training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.2)(x)
    model = keras.Model(image, keras.layers.Dense(len(classes))(x))
    model.compile(
        optimizer=keras.optimizers.Adam(options.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    seconds["build"] = time.perf_counter() - started - sum(seconds.values())
    model.fit(train, validation_data=val, epochs=options.epochs, verbose=0)
    seconds["fit"] = time.perf_counter() - started - sum(seconds.values())
    _, accuracy = model.evaluate(test, verbose=0)
    seconds["evaluate"] = time.perf_counter() - started - sum(seconds.values())
    if options.save:
        model.save(options.save)
        seconds["save"] = time.perf_counter() - started - sum(seconds.values())
    print(json.dumps({"test_accuracy": accuracy, "seconds": seconds}))


if __name__ == "__main__":
    main()
