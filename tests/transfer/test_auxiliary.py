"""Auxiliary classifiers: they help in training, and nothing but training sees them."""

import json

import keras
import numpy as np
import pytest

from tlkit.convert import tflite_file
from tlkit.convert.to_tflite import tflite_from_keras
from tlkit.errors import TlkitError
from tlkit.models import registry
from tlkit.models.auxiliary import auxiliaries_for, without_auxiliaries
from tlkit.progress import Progress
from tlkit.transfer.features import inference
from tlkit.transfer.results import save_model
from tlkit.transfer.schedule import Schedule
from tlkit.transfer.training import Recipe, compile_for_training


def small_model():
    """Two classifiers on one hidden layer."""
    keras.utils.set_random_seed(3)
    image = keras.Input((6,))
    hidden = keras.layers.Dense(5, activation="tanh", name="stage1_fc")(image)
    logits = keras.layers.Dense(3, name="head_logits")(hidden)
    auxiliary = keras.layers.Dense(3, name="aux1_logits")(hidden)
    return keras.Model(image, [logits, auxiliary])


def batch(count=8):
    random = np.random.default_rng(1)
    return random.normal(0, 1, (count, 6)).astype(np.float32), random.integers(0, 3, count), np.ones(count, np.float32)


def cross_entropy(model, weight):
    import tensorflow as tf

    x, labels, _ = batch()
    logits, auxiliary = model(x)
    main = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    extra = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, auxiliary)
    return tf.reduce_mean(main) + weight * tf.reduce_mean(extra), tf.reduce_sum(main)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_an_auxiliary_classifier_adds_its_share_of_the_gradient(weight):
    """The first moment of Adam after one step is a tenth of the gradient."""
    import tensorflow as tf

    model = small_model()
    with tf.GradientTape() as tape:
        loss, reported = cross_entropy(model, weight)
    kernel = model.get_layer("stage1_fc").kernel
    expected = tape.gradient(loss, kernel.value).numpy()
    schedule = Schedule(epochs=1, batch_size=8, learning_rate=0.01, patience=0)
    compiled = compile_for_training(model, schedule, steps=10, recipe=Recipe(auxiliary_weight=weight))
    losses, _ = compiled.train_on_batch(*batch())
    moments = {v.path: v for v in compiled.optimizer.variables}
    moment = next(v for path, v in moments.items() if "stage1_fc_kernel_momentum" in path)
    assert np.allclose(moment.numpy(), 0.1 * expected, atol=1e-6)
    assert losses == pytest.approx(float(reported), rel=1e-5)  # of the logits alone


def test_inference_and_the_saved_model_give_the_logits_alone(tmp_path):
    model = small_model()
    x, _, _ = batch()
    logits = model(x)[0].numpy()
    assert np.allclose(inference(model)(x), logits, atol=1e-6)
    saved = keras.saving.load_model(save_model(model, tmp_path))
    assert len(saved.outputs) == 1
    assert not [layer.name for layer in saved.layers if layer.name.startswith("aux")]
    assert np.allclose(saved(x).numpy().sum(axis=1), 1, atol=1e-6)
    assert [layer.name for layer in without_auxiliaries(model).layers][-1] == "head_logits"


def test_a_file_that_holds_one_is_refused():
    model = registry.build("lenet5", classes=10)
    hidden = model.get_layer("stage2_pool").output
    extra = keras.layers.Dense(10, name="aux1_logits")(keras.layers.GlobalAveragePooling2D()(hidden))
    content = tflite_from_keras(
        keras.Model(model.input, keras.layers.Softmax()(keras.layers.Add()([model.output, extra]))), precision="float32"
    )
    with pytest.raises(TlkitError, match=r"holds \d+ tensors of auxiliary classifiers, such as .*aux1_logits"):
        tflite_file.check_no_auxiliaries(content)


def test_they_are_taken_where_their_stage_is_trained_and_the_input_is_large_enough():
    googlenet = registry.find("googlenet")
    size = googlenet.auxiliaries.min_input_size
    assert auxiliaries_for(googlenet, frozen=(), input_size=size) == googlenet.auxiliaries
    assert auxiliaries_for(googlenet, frozen=("stem", "stage3"), input_size=size) is not None
    assert auxiliaries_for(googlenet, frozen=googlenet.stages[:3], input_size=size) is None
    assert auxiliaries_for(googlenet, frozen=(), input_size=size - 1) is None
    assert auxiliaries_for(registry.find("vgg16"), frozen=(), input_size=224) is None


@pytest.mark.slow
def test_googlenet_trains_with_both_and_no_export_has_them(make_folder, tmp_path):
    from tlkit.api import finetune

    said = []

    class Hearing(Progress):
        def say(self, text):
            said.append(text)

    run = finetune(
        make_folder(each=8),
        base="googlenet",
        input_size=registry.find("googlenet").auxiliaries.min_input_size,
        epochs=1,
        runs=tmp_path / "runs",
        progress=Hearing(),
    )
    assert [text for text in said if text.startswith("2 auxiliary classifiers help in training")]
    assert run.manifest["auxiliaries"] == {"loss_weight": 0.3}
    alone = registry.build("googlenet", classes=3, head="gap")
    assert run.model.count_params() == alone.count_params()
    assert not [layer.name for layer in run.model.layers if layer.name.startswith("aux")]
    for precision in ("float32", "float16", "dynamic", "int8"):
        entry = run.export("tflite", precision, min_agreement=0.0, max_drop=1.0)
        content = (run.folder / entry["path"]).read_bytes()
        tflite_file.check_no_auxiliaries(content)
        assert b"aux1" not in content and b"aux2" not in content
        held = sum(tflite_file.weights_by_type(content).values())
        assert held < 1.02 * alone.count_params()
    assert json.loads((run.folder / "run.json").read_text())["artifacts"]
