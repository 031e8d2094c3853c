"""Fine-tuning of all layers in plain Keras until its first step is done: the other side of `startup.py`.

    python benchmarks/keras_startup.py DATA WEIGHTS --input-size 96

DATA holds train/<class>/*, WEIGHTS is a file for keras.applications.MobileNetV2 with its top. Prints the seconds from
the start of the script to the end of the first training step, of which `import` were the import of Keras.
"""

import time

started = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

import keras  # noqa: E402

imported = time.perf_counter()


class FirstStep(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        now = time.perf_counter()
        print(json.dumps({"import": imported - started, "first_step": now - started}))
        sys.stdout.flush()
        os._exit(0)  # what follows is not measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights")
    parser.add_argument("--input-size", type=int, default=96)
    options = parser.parse_args()
    size = (options.input_size, options.input_size)
    train, _ = keras.utils.image_dataset_from_directory(
        f"{options.data}/train", image_size=size, verbose=False, validation_split=0.15, subset="both", seed=0
    )
    whole = keras.applications.MobileNetV2(weights=options.weights, input_shape=(*size, 3))
    base = keras.Model(whole.input, whole.get_layer("out_relu").output)
    image = keras.Input((*size, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(image)
    x = keras.layers.GlobalAveragePooling2D()(base(x))
    x = keras.layers.Dropout(0.2)(x)
    model = keras.Model(image, keras.layers.Dense(len(train.class_names))(x))
    model.compile(
        optimizer=keras.optimizers.Adam(1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(train, epochs=1, verbose=0, callbacks=[FirstStep()])


main()
