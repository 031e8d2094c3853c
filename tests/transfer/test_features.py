"""What is frozen is computed once, and changes nothing."""

import keras
import numpy as np
import pytest

from tlkit.data.cache import cache_folder
from tlkit.data.discover import discover
from tlkit.data.split import split
from tlkit.models import registry
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress
from tlkit.transfer import features as cache
from tlkit.transfer.features import cut, estimate_bytes, features_of, inference
from tlkit.transfer.job import fit
from tlkit.transfer.source import cached_source, pixel_source
from tlkit.transfer.training import Schedule

from ..conftest import settled

SPEC = PreprocessSpec(input_size=32)


@pytest.fixture
def photos(make_folder):
    return split(discover(make_folder(each=14)), seed=0)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))


def model_of(name="mobilenet_v2", seed=0, **options):
    keras.utils.set_random_seed(seed)
    return settled(registry.build(name, classes=3, input_size=32, head="gap", **options))


def compute(model, photos, frozen, spec=SPEC):
    parts = cut(model, frozen)
    return features_of(parts, photos.root, photos.train + photos.held_out, spec, progress=Progress())


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v2"])
def test_a_model_can_be_cut_behind_every_stage(name):
    architecture = registry.find(name)
    model = model_of(name)
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    whole = model(x, training=False).numpy()
    for count in range(1, len(architecture.stages) + 1):
        parts = cut(model, architecture.stages[:count])
        assert np.allclose(parts.tail(parts.backbone(x, training=False), training=False), whole, atol=1e-6)
        assert {layer.name for layer in parts.backbone.layers} <= {layer.name for layer in model.layers}
    assert parts.boundary == "head_pool"
    assert cut(model, ()) is None


def test_the_estimate_is_the_size_of_what_is_written(photos, own_cache):
    model = model_of()
    stages = registry.find("mobilenet_v2").stages
    found = compute(model, photos, stages)
    assert estimate_bytes(cut(model, stages), len(found.array)) == found.array.nbytes == len(found.array) * 1280 * 4


def test_a_second_run_reuses_the_features_with_another_split(photos, own_cache):
    stages = registry.find("mobilenet_v2").stages
    first = compute(model_of(), photos, stages)
    again = compute(model_of(), split(discover(photos.root), seed=9), stages)
    assert (first.reused, again.reused) == (False, True)
    assert np.array_equal(first.array, again.array)


def test_whatever_the_features_depend_on_makes_new_ones(photos, own_cache):
    stages = registry.find("mobilenet_v2").stages
    compute(model_of(), photos, stages)
    assert not compute(model_of(seed=1), photos, stages).reused  # weights
    assert not compute(model_of(), photos, stages[:-1]).reused  # boundary
    assert not compute(model_of(), photos, stages, PreprocessSpec(input_size=32, resize="crop")).reused
    photo = photos.root / photos.train[0].path
    photo.write_bytes((photos.root / photos.val[0].path).read_bytes() + b"x")
    assert not compute(model_of(), split(discover(photos.root), seed=0), stages).reused  # photos
    assert compute(model_of(), photos, stages).reused


def test_a_damaged_cache_is_made_anew(photos, own_cache):
    stages = registry.find("mobilenet_v2").stages
    whole = np.array(compute(model_of(), photos, stages).array)
    (path,) = cache_folder().glob("features/*/features.npy")
    path.write_bytes(path.read_bytes()[:5000])
    again = compute(model_of(), photos, stages)
    assert not again.reused
    assert np.array_equal(again.array, whole)


def test_a_failed_pass_leaves_nothing_in_the_cache(photos, own_cache, monkeypatch):
    monkeypatch.setattr(cache, "_compute", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        compute(model_of(), photos, registry.find("mobilenet_v2").stages)
    assert list((cache_folder() / "features").iterdir()) == []


def test_features_do_not_depend_on_the_batch(photos, own_cache):
    model = model_of()
    parts = cut(model, registry.find("mobilenet_v2").stages)
    found = compute(model, photos, registry.find("mobilenet_v2").stages)
    pixels = np.stack([SPEC.load(photos.root / p.path) for p in photos.val])
    assert np.allclose(inference(parts.backbone)(pixels), found.array[found.rows(photos.val)], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "frozen", "dropout"),
    [("mobilenet_v2", 6, 0.2), ("mobilenet_v2", 6, 0.0), ("mobilenet_v2", 5, 0.2), ("vgg16", 5, 0.3)],
)
def test_cached_training_gives_the_head_of_uncached_training(photos, own_cache, name, frozen, dropout):
    """Same seeds, no augmentation: to 1e-5, as contract."""
    stages = registry.find(name).stages[:frozen]
    schedule = Schedule(epochs=4, batch_size=8, learning_rate=3e-3, patience=0)
    heads, logits = [], []
    for cached in (True, False):
        model = model_of(name, seed=3, dropout=dropout)
        if cached:
            found = compute(model, photos, stages)
            source = cached_source(cut(model, stages), found, photos, np.ones(3))
        else:
            source = pixel_source(model, photos, SPEC, np.ones(3))
        start = model.get_layer("head_logits").get_weights()[0]
        history = fit(source, photos, schedule, frozen=stages, batch_norm_frozen=True, seed=3, progress=Progress())
        heads.append(model.get_layer("head_logits").get_weights())
        logits.append(source.held_out_logits())
        assert len(history.rows) == 4
        assert np.abs(heads[-1][0] - start).max() > 1e-3
    assert all(np.abs(a - b).max() < 1e-5 for a, b in zip(*heads, strict=True))
    assert np.abs(logits[0] - logits[1]).max() < 1e-4


def test_features_no_room_for_memory_stay_on_disk_and_give_the_same_batches(photos, own_cache, monkeypatch):
    from tlkit.transfer import source

    stages = registry.find("mobilenet_v2").stages
    model = model_of()
    parts, found, order = cut(model, stages), compute(model, photos, stages), [np.array([5, 0, 3]), np.array([1])]
    kept = cached_source(parts, found, photos, np.ones(3))
    monkeypatch.setattr(source, "KEEP_BYTES", 0)
    mapped = cached_source(parts, found, photos, np.ones(3))
    for a, b in zip(kept.batches(order), mapped.batches(order), strict=True):
        assert all(map(np.array_equal, a, b))
    assert np.array_equal(kept.val_logits(), mapped.val_logits())


def test_class_weights_reach_both_kinds_of_training(photos, own_cache):
    stages = registry.find("mobilenet_v2").stages
    model = model_of()
    weights = np.array([1.0, 2.0, 3.0])
    order = [np.arange(6)]
    (_, labels, cached), *_ = cached_source(
        cut(model, stages), compute(model, photos, stages), photos, weights
    ).batches(order)
    ((_, same, uncached),) = pixel_source(model, photos, SPEC, weights).batches(order)
    assert np.array_equal(labels, same.numpy())
    assert np.array_equal(cached, weights[labels])
    assert np.allclose(uncached.numpy(), cached)
