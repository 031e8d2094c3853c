"""Pretrained weights: every format, every misfit, and nothing outside the file."""

import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from tlkit.errors import WeightsError
from tlkit.models import registry
from tlkit.models.imagenet import DownloadError, fetch_imagenet
from tlkit.models.weights import load_weights

V2 = registry.find("mobilenet_v2")
VGG = registry.find("vgg16")


def save_legacy(model, path):
    """Writes the form in which keras.applications publishes its files."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


@pytest.fixture(scope="module")
def theirs():
    keras.utils.set_random_seed(5)
    return keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=1000)


@pytest.fixture
def ours():
    return registry.build("mobilenet_v2", classes=3, input_size=32, head="gap")


def first_kernel(model):
    return model.get_layer("stem_conv").get_weights()[0]


@pytest.mark.parametrize("form", ["a.weights.h5", "legacy.h5", "a.keras"])
def test_each_format_is_read(tmp_path, theirs, ours, form):
    path = tmp_path / form
    if form == "legacy.h5":
        save_legacy(theirs, path)
    elif form == "a.keras":
        theirs.save(path)
    else:
        theirs.save_weights(path)
    loaded = load_weights(ours, V2, path)
    assert not loaded.head
    assert len(loaded.sha256) == 64
    assert np.array_equal(first_kernel(ours), theirs.get_layer("Conv1").get_weights()[0])
    last = ours.get_layer("stage5_conv_bn").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(last, theirs.get_layer("Conv_1_bn").get_weights(), strict=True))


def test_a_file_without_top_is_read(tmp_path, ours):
    bare = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))
    save_legacy(bare, tmp_path / "no_top.h5")
    load_weights(ours, V2, tmp_path / "no_top.h5")
    assert np.array_equal(first_kernel(ours), bare.get_layer("Conv1").get_weights()[0])


def test_a_backbone_inside_a_saved_transfer_model_is_found(tmp_path, theirs, ours):
    base = keras.Model(theirs.input, theirs.get_layer("out_relu").output)
    image = keras.Input((32, 32, 3))
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(base(image))).save(tmp_path / "a.keras")
    load_weights(ours, V2, tmp_path / "a.keras")
    assert np.array_equal(first_kernel(ours), theirs.get_layer("Conv1").get_weights()[0])


@pytest.mark.parametrize(("name", "form"), [("vgg16", "a.keras"), ("resnet50", "a.weights.h5")])
def test_our_own_files_come_back_as_they_were(tmp_path, name, form):
    """Ours take RGB: a file of ours must not have its first kernel reversed a second time."""
    source = registry.build(name, classes=3, input_size=32, head="gap")
    source.save_weights(tmp_path / form) if form.endswith(".h5") else source.save(tmp_path / form)
    copy = registry.build(name, classes=3, input_size=32, head="gap")
    assert load_weights(copy, registry.find(name), tmp_path / form).head
    assert all(np.array_equal(a, b) for a, b in zip(copy.get_weights(), source.get_weights(), strict=True))


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_a_weights_file_of_ours_that_may_have_been_normalized_in_several_ways_is_refused(tmp_path, name):
    """After torchvision's weights the model standardizes; its `.weights.h5` does not hold that."""
    ours = registry.build(name, classes=3, input_size=32, head="gap")
    ours.save_weights(tmp_path / "a.weights.h5")
    before = ours.get_weights()
    with pytest.raises(WeightsError, match=r"a.weights.h5 does not say how its input was normalized.*Use the .keras"):
        load_weights(ours, registry.find(name), tmp_path / "a.weights.h5")
    assert all(map(np.array_equal, before, ours.get_weights()))


def test_bgr_kernels_are_reversed(tmp_path):
    theirs = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours = registry.build("vgg16", classes=3, input_size=32, head="gap")
    load_weights(ours, VGG, tmp_path / "a.weights.h5")
    kernel = theirs.get_layer("block1_conv1").get_weights()[0]
    assert np.array_equal(ours.get_layer("stage1_conv1").get_weights()[0], kernel[:, :, ::-1])


def test_another_width_is_refused_and_named(tmp_path, ours):
    narrow = keras.applications.MobileNetV2(alpha=0.5, weights=None, include_top=False, input_shape=(32, 32, 3))
    narrow.save_weights(tmp_path / "a.weights.h5")
    before = ours.get_weights()
    with pytest.raises(WeightsError, match="not for mobilenet_v2 but for MobileNetV2 of width 0.5"):
        load_weights(ours, V2, tmp_path / "a.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(before, ours.get_weights(), strict=True))


def test_another_depth_is_refused_and_named(tmp_path):
    keras.applications.VGG19(weights=None, include_top=False, input_shape=(32, 32, 3)).save_weights(
        tmp_path / "vgg19.weights.h5"
    )
    ours = registry.build("vgg16", classes=3, input_size=32, head="gap")
    with pytest.raises(WeightsError, match="vgg19.weights.h5 is not for vgg16 but for VGG-19"):
        load_weights(ours, VGG, tmp_path / "vgg19.weights.h5")


def test_another_architecture_is_refused(tmp_path, theirs):
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours = registry.build("vgg16", classes=3, input_size=32, head="gap")
    with pytest.raises(WeightsError, match="is not for vgg16: it has none of its layers"):
        load_weights(ours, VGG, tmp_path / "a.weights.h5")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.h5", None, "There is no weights file"),
        ("model.npz", b"x", "is no weights file: tlkit reads .weights.h5, .h5, .keras, .pth, .pt and .safetensors"),
        ("model.pth", b"x", "model.pth is not read: it is cut off or broken"),
        ("model.pt", b"", "model.pt is not read: it is cut off or broken"),
        ("model.safetensors", b"x", "model.safetensors is cut off or broken .Error while deserializing header"),
        ("broken.weights.h5", b"not an hdf5 file", "can't be read as a weights file"),
        ("broken.keras", b"not a zip", "can't be read as a weights file"),
    ],
)
def test_what_is_no_weights_file_is_refused(tmp_path, ours, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_weights(ours, V2, tmp_path / name)


def test_a_keras_archive_without_weights_is_refused(tmp_path, ours):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(WeightsError, match="can't be read as a weights file"):
        load_weights(ours, V2, tmp_path / "a.keras")


def test_links_to_other_files_are_refused(tmp_path, theirs, ours):
    theirs.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "a") as file:
        del file["layers/conv2d"]
        file["layers/conv2d"] = h5py.ExternalLink("secret.h5", "/x")
    with pytest.raises(WeightsError, match="links to other files"):
        load_weights(ours, V2, tmp_path / "a.weights.h5")


def test_data_kept_outside_the_file_is_refused(tmp_path, theirs, ours):
    theirs.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "a") as file:
        shape = file["layers/conv2d/vars/0"].shape
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars"].create_dataset("0", shape, "f4", external=[("/etc/hostname", 0, 4 * np.prod(shape))])
    with pytest.raises(WeightsError, match="keeps /layers/conv2d/vars/0 outside itself"):
        load_weights(ours, V2, tmp_path / "a.weights.h5")


def test_legacy_files_that_link_elsewhere_are_refused(tmp_path, theirs, ours):
    save_legacy(theirs, tmp_path / "secret.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["model_weights"] = h5py.ExternalLink("secret.h5", "/")
    with pytest.raises(WeightsError, match="links to other files"):
        load_weights(ours, V2, tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file, h5py.File(tmp_path / "secret.h5") as secret:
        file.attrs["layer_names"] = secret.attrs["layer_names"]
        for name in secret:
            file[name] = h5py.ExternalLink("secret.h5", name)
    with pytest.raises(WeightsError, match="links to other files"):
        load_weights(ours, V2, tmp_path / "b.h5")


def test_virtual_data_of_another_file_is_refused(tmp_path, theirs, ours):
    theirs.save_weights(tmp_path / "a.weights.h5")
    shutil.copy(tmp_path / "a.weights.h5", tmp_path / "secret.h5")
    with h5py.File(tmp_path / "a.weights.h5", "a") as file:
        shape = file["layers/conv2d/vars/0"].shape
        layout = h5py.VirtualLayout(shape, "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "layers/conv2d/vars/0", shape)
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars"].create_virtual_dataset("0", layout)
    with pytest.raises(WeightsError, match="keeps .* outside itself"):
        load_weights(ours, V2, tmp_path / "a.weights.h5")


def write_legacy(path, layers, weights=True):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = layers
        for name in layers[:-1]:
            group = file.create_group(name)
            if weights:
                group.attrs["weight_names"] = ["kernel"]
                group["kernel"] = "text"


@pytest.mark.parametrize(
    "make",
    [
        lambda path: write_legacy(path, ["Conv1", "missing"]),
        lambda path: write_legacy(path, ["Conv1", "Conv1"], weights=False),
        lambda path: h5py.File(path, "w").create_dataset("model_weights", data=1.0).file.close(),
        lambda path: h5py.File(path, "w").create_group("layers/a/vars/foo").file.close(),
    ],
    ids=["a missing layer", "no weight names", "weights that are a number", "an unnumbered variable"],
)
def test_odd_hdf5_is_refused(tmp_path, ours, make):
    make(tmp_path / "a.h5")
    with pytest.raises(WeightsError, match="Fetch it again|is not for mobilenet_v2"):
        load_weights(ours, V2, tmp_path / "a.h5")


def test_weights_that_are_not_numbers_are_refused(tmp_path, theirs, ours):
    theirs.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "a") as file:
        file["layers/conv2d_3/vars/0"][:] = np.nan
    before = ours.get_weights()
    with pytest.raises(WeightsError, match="that are not numbers"):
        load_weights(ours, V2, tmp_path / "a.weights.h5")
    assert all(map(np.array_equal, before, ours.get_weights()))


def test_imagenet_weights_come_from_keras_own_cache(tmp_path, monkeypatch, theirs, ours):
    """The name and place that keras.applications itself uses; nothing is downloaded."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    place = tmp_path / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
    save_legacy(theirs, place)
    assert fetch_imagenet(V2, input_size=96, top=False) == place
    load_weights(ours, V2, place)
    assert np.array_equal(first_kernel(ours), theirs.get_layer("Conv1").get_weights()[0])


def test_a_size_without_a_file_of_its_own_takes_that_of_224(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(DownloadError, match="kernels_1.0_224_no_top.h5"):
        fetch_imagenet(V2, input_size=100, top=False)


def test_a_failed_download_says_what_to_fetch_where_to_put_it_and_what_else_can_be_done(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(DownloadError) as caught:
        fetch_imagenet(VGG, input_size=32, top=False)
    message = str(caught.value)
    name = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert f"fetch https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{name}" in message
    assert f"put it at {tmp_path / 'models' / name}" in message
    assert "--weights PATH" in message
    assert "--weights none" in message
    assert capsys.readouterr().out == ""


def test_an_architecture_without_published_weights_says_so():
    with pytest.raises(WeightsError, match="There are no ImageNet weights for lenet5"):
        fetch_imagenet(registry.find("lenet5"), input_size=28, top=False)


def saved_by_a_run(path, name, size, **options):
    """What `tlkit finetune` leaves: the network with a softmax behind it."""
    model = registry.build(name, classes=3, input_size=size, head="gap", **options)
    out = keras.layers.Activation("softmax", name="probabilities")(model.output)
    keras.Model(model.input, out, name=model.name).save(path)


def check_refused(name, size, path, message):
    ours = registry.build(name, classes=3, input_size=size, head="gap")
    before = ours.get_weights()
    with pytest.raises(WeightsError, match=message):
        load_weights(ours, registry.find(name), path)
    assert all(map(np.array_equal, before, ours.get_weights()))


@pytest.mark.parametrize(
    ("saved", "options", "name", "size", "message"),
    [
        ("resnet18", {}, "plain18", 32, "it has stage2_block1_add, .* not here. Use --base resnet18."),
        ("plain18", {}, "resnet18", 32, "it has no stage2_block1_add, .*. Use --base plain18."),
        (
            "resnet18",
            {"shortcut": "A"},
            "resnet18",
            32,
            "stage3_block1_shortcut is a Reshape there, .* Check --base and --weights.",
        ),
        (
            "resnet50_v1.5",
            {},
            "resnet50",
            32,
            r"stage3_block1_conv1 has strides \(1, 1\) there, \(2, 2\) here .and \d+ more.. Use --base resnet50_v1.5.",
        ),
        ("vgg11", {}, "vgg11_lrn", 32, "it has no stage1_norm. Use --base vgg11."),
        ("vgg11_lrn", {}, "vgg11", 32, "it has stage1_norm, which is not here. Use --base vgg11_lrn."),
        (
            "alexnet",
            {"local_response_norm": True},
            "alexnet",
            80,
            "it has stage1_norm, stage2_norm, which are not here",
        ),
        ("lenet5", {}, "lenet5_32", 28, "stage1_conv has padding same there, valid here. Use --base lenet5."),
        ("lenet5", {"pooling": "max"}, "lenet5", 28, "stage1_pool is a MaxPooling2D there, a AveragePooling2D here"),
        ("lenet5", {"activation": "relu"}, "lenet5", 28, "stage1_conv has activation relu there, sigmoid here"),
        ("googlenet_bn", {}, "googlenet", 64, "Use --base googlenet_bn."),
        ("googlenet", {}, "googlenet_bn", 64, "Use --base googlenet."),
    ],
)
def test_a_model_of_ours_of_another_variant_is_refused_and_named(tmp_path, saved, options, name, size, message):
    """Names and shapes agree in most of them; what is computed does not."""
    saved_by_a_run(tmp_path / "model.keras", saved, size, **options)
    check_refused(name, size, tmp_path / "model.keras", f"model.keras is not for {name}: .*{message}")


@pytest.mark.parametrize("name", ["resnet50_v1.5", "lenet5", "googlenet", "mobilenet_v3_small"])
def test_a_model_of_ours_is_taken_at_another_size(tmp_path, name):
    saved_by_a_run(tmp_path / "model.keras", name, 96)
    ours = registry.build(name, classes=3, input_size=64, head="gap")
    assert load_weights(ours, registry.find(name), tmp_path / "model.keras").head


@pytest.mark.parametrize(
    ("saved", "name", "message"),
    [
        ("resnet18", "plain18", "it has stage\\d_block1_shortcut\\w*, .* as well, which plain18 has not"),
        ("googlenet_bn", "googlenet", "which googlenet has not|are needed"),
    ],
)
def test_a_weights_file_of_ours_with_more_layers_is_refused(tmp_path, saved, name, message):
    registry.build(saved, classes=3, input_size=64, head="gap").save_weights(tmp_path / "a.weights.h5")
    check_refused(name, 64, tmp_path / "a.weights.h5", message)


def test_a_published_file_with_more_layers_is_refused(tmp_path, theirs):
    """Whoever wrote it: a layer named as those of the backbone, but for its numbers."""
    out = keras.layers.Conv2D(4, 1, name="block_17_expand")(theirs.get_layer("out_relu").output)
    keras.Model(theirs.input, out).save_weights(tmp_path / "a.weights.h5")
    check_refused("mobilenet_v2", 32, tmp_path / "a.weights.h5", "it has block_17_expand as well, which mobilenet_v2")


@pytest.mark.parametrize("before", [1, 10, 200])
def test_inception_is_read_whatever_was_built_before_it(tmp_path, before):
    """Keras numbers what has no name throughout a session; a head of the user's comes after."""
    keras.backend.clear_session()
    for _ in range(before):
        keras.layers.Conv2D(1, 1), keras.layers.BatchNormalization()
    theirs = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(75, 75, 3))
    convs = [layer for layer in theirs.layers if isinstance(layer, keras.layers.Conv2D)]
    assert f"conv2d_{before}" in {layer.name for layer in convs}
    x = keras.layers.GlobalAveragePooling2D()(theirs.output)
    x = keras.layers.Dense(3)(keras.layers.BatchNormalization()(x))
    keras.Model(theirs.input, x).save(tmp_path / "a.keras")
    ours = registry.build("inception_v3", classes=3, input_size=75, head="gap")
    load_weights(ours, registry.find("inception_v3"), tmp_path / "a.keras")
    x = np.random.default_rng(0).uniform(0, 255, (2, 75, 75, 3)).astype(np.float32)
    pooled = keras.Model(ours.input, ours.get_layer("head_pool").input)
    assert np.abs(pooled.predict(x, verbose=0) - theirs.predict(x / 127.5 - 1, verbose=0)).max() < 1e-4


@pytest.mark.real_data
def test_real_imagenet_weights_give_the_logits_of_keras_applications(shared, weights_v2):
    import json

    from tlkit.preprocess import PreprocessSpec

    names = json.loads((shared / "data" / "imagenet_samples.json").read_text())
    spec = PreprocessSpec(input_size=224, resize="crop", crop_fraction=0.875)
    chosen = sorted(names, key=int)[::20]
    x = np.stack([spec.load(shared / "data" / "imagenet_samples" / f"{names[i]}.jpg") for i in chosen])
    x = x.astype(np.float32)
    ours = registry.build("mobilenet_v2")
    assert load_weights(ours, V2, weights_v2).head
    theirs = keras.applications.MobileNetV2(weights=str(weights_v2), classifier_activation=None)
    logits, expected = ours.predict_on_batch(x), theirs.predict_on_batch(x / 127.5 - 1)
    assert np.abs(logits - expected).max() < 1e-4
    assert np.mean(logits.argmax(axis=1) == np.array([int(i) for i in chosen])) > 0.75
