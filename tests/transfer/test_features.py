"""What is frozen is computed once, and changes nothing."""

import errno
import threading
import time
from contextlib import contextmanager

import keras
import numpy as np
import pytest

from tlkit.data.augment import Augmentation
from tlkit.data.cache import cache_folder
from tlkit.data.discover import discover
from tlkit.data.split import split
from tlkit.models import registry
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Progress
from tlkit.transfer import features as cache
from tlkit.transfer.features import Wanted, cut, estimate_bytes, features_of
from tlkit.transfer.inference import inference
from tlkit.transfer.loop import Training
from tlkit.transfer.schedule import Schedule, Step
from tlkit.transfer.source import cached_source, pixel_source
from tlkit.transfer.training import Recipe

from ..conftest import settled

SPEC = PreprocessSpec(input_size=32)


@pytest.fixture
def photos(make_folder):
    return split(discover(make_folder(each=14)), seed=0)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def model_of(name="mobilenet_v2", seed=0, **options):
    keras.utils.set_random_seed(seed)
    return settled(registry.build(name, classes=3, input_size=32, head="gap", **options))


def compute(model, photos, frozen, spec=SPEC, augmentation=None):
    plain = photos.held_out if augmentation else photos.train + photos.held_out
    wanted = Wanted(root=photos.root, plain=plain, viewed=photos.train, augmentation=augmentation, spec=spec)
    return features_of(cut(model, frozen), wanted, progress=Progress())


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


class Stopping(Progress):
    """Raises an error in the middle of a bar."""

    def __init__(self, error, after):
        self.error, self.after, self.totals = error, after, []

    @contextmanager
    def bar(self, title, total, unit="images"):
        self.totals.append(total)
        with super().bar(title, total, unit) as bar:
            advance, stop = bar.advance, self

            def advanced(count=1, *, note=None):
                advance(count, note=note)
                if bar.done >= stop.after:
                    raise stop.error

            bar.advance = advanced
            yield bar


def test_a_full_disk_gives_back_what_was_taken_and_says_why(photos, own_cache):
    wanted = Wanted(root=photos.root, plain=photos.train + photos.held_out, spec=SPEC)
    full = Stopping(OSError(errno.ENOSPC, "No space left on device"), after=1)
    with pytest.raises(cache.NoRoomError, match=r"the cache folder .* can't be written \(No space left on device\)"):
        features_of(cut(model_of(), registry.find("mobilenet_v2").stages), wanted, progress=full)
    assert [path.name for path in (own_cache / "features").iterdir()] == [".tlkit"]


def test_no_view_is_computed_that_no_epoch_sees(photos):
    augmentation = Augmentation("light", views=3, seed=0)
    wanted = Wanted(root=photos.root, plain=photos.val, viewed=photos.train, augmentation=augmentation, spec=SPEC)
    assert len(wanted) == len(photos.val) + 3 * len(photos.train)
    for done in (0, 1, len(photos.val), len(wanted) - 1):
        batches = list(wanted.batches(done))
        assert sum(len(batch.indices) for batch in batches) == len(wanted) - done
    assert [batch.view for batch in wanted.batches(0)] == [None, 0, 1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt()])
def test_an_interrupted_pass_goes_on_where_it_was(photos, own_cache, monkeypatch, error):
    monkeypatch.setattr(cache, "BATCH", 4)
    stages = registry.find("mobilenet_v2").stages
    model, parts = model_of(), cut(model_of(), stages)
    wanted = Wanted(root=photos.root, plain=photos.train + photos.held_out, spec=SPEC)
    with pytest.raises(type(error)):
        features_of(parts, wanted, progress=Stopping(error, after=12))
    (partial,) = (path for path in (cache_folder() / "features").iterdir() if not path.name.startswith("."))
    assert partial.name.endswith(".partial")
    with (partial / "features.npy").open("ab") as file:
        file.write(b"half a row")
    going = Stopping(None, after=10**9)
    found = features_of(parts, wanted, progress=going)
    assert going.totals == [42 - 12]
    assert not partial.exists()
    (own_cache / "features").rename(own_cache / "before")
    assert np.array_equal(found.array, compute(model, photos, stages).array)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"x" * 10**7])
def test_a_partial_file_that_is_none_is_begun_anew_or_cut(photos, own_cache, content):
    stages = registry.find("mobilenet_v2").stages
    whole = np.array(compute(model_of(), photos, stages).array)
    (folder,) = (path for path in (own_cache / "features").iterdir() if not path.name.startswith("."))
    partial = folder.rename(folder.with_name(f"{folder.name}.partial"))
    head = (partial / "features.npy").read_bytes()[:128]
    (partial / "features.npy").write_bytes(content if len(content) < 128 else head)
    assert np.array_equal(compute(model_of(), photos, stages).array, whole)


def test_two_processes_share_one_pass(photos, own_cache):
    """The second waits for the first, and takes what it computed."""
    stages = registry.find("mobilenet_v2").stages
    first, told, results = threading.Event(), [], []

    class Slow(Progress):
        @contextmanager
        def bar(self, title, total, unit="images"):
            first.set()
            time.sleep(1.0)
            with super().bar(title, total, unit) as bar:
                yield bar

    class Told(Progress):
        def say(self, text):
            told.append(text)

    parts = cut(model_of(), stages)
    wanted = Wanted(root=photos.root, plain=photos.train + photos.held_out, spec=SPEC)
    thread = threading.Thread(target=lambda: results.append(features_of(parts, wanted, progress=Slow())))
    thread.start()
    assert first.wait(60)
    second = features_of(parts, wanted, progress=Told())
    thread.join()
    assert second.reused
    assert not results[0].reused
    assert "another process computes the same; waiting for it" in told[0]


def test_features_do_not_depend_on_the_batch(photos, own_cache):
    model = model_of()
    parts = cut(model, registry.find("mobilenet_v2").stages)
    found = compute(model, photos, registry.find("mobilenet_v2").stages)
    pixels = np.stack([SPEC.load(photos.root / p.path) for p in photos.val])
    assert np.allclose(inference(parts.backbone)(pixels), found.array[found.rows(photos.val)], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "frozen", "dropout", "augment"),
    [
        ("mobilenet_v2", 6, 0.2, None),
        ("mobilenet_v2", 6, 0.0, None),
        ("mobilenet_v2", 5, 0.2, None),
        ("vgg16", 5, 0.3, None),
        ("mobilenet_v2", 6, 0.2, "strong"),
        ("vgg16", 5, 0.0, "light"),
    ],
)
def test_cached_training_gives_the_head_of_uncached_training(photos, own_cache, name, frozen, dropout, augment):
    """Same seeds, and the same views with augmentation: to 1e-5, as contract."""
    stages = registry.find(name).stages[:frozen]
    schedule = Schedule(epochs=4, batch_size=8, learning_rate=3e-3, patience=0)
    heads, logits = [], []
    for cached in (True, False):
        model = model_of(name, seed=3, dropout=dropout)
        augmentation = Augmentation(augment, views=3, seed=3) if augment else None
        if cached:
            found = compute(model, photos, stages, augmentation=augmentation)
            assert len(found.array) == (3 * len(photos.train) + len(photos.held_out) if augment else 42)
            source = cached_source(cut(model, stages), found, photos, np.ones(3), augmentation)
        else:
            source = pixel_source(model, photos, SPEC, np.ones(3), augmentation)
        start = model.get_layer("head_logits").get_weights()[0]
        training = Training(source, photos, schedule, frozen=stages, recipe=Recipe(batch_norm="frozen"), seed=3)
        assert training.run(Progress())
        heads.append(model.get_layer("head_logits").get_weights())
        logits.append(source.held_out_logits())
        assert len(training.state.rows) == 4
        assert np.abs(heads[-1][0] - start).max() > 1e-3
    assert all(np.abs(a - b).max() < 1e-5 for a, b in zip(*heads, strict=True))
    assert np.abs(logits[0] - logits[1]).max() < 1e-4


def test_views_of_another_seed_or_number_are_computed_anew(photos, own_cache):
    stages = registry.find("mobilenet_v2").stages
    one = compute(model_of(), photos, stages, augmentation=Augmentation("light", views=2, seed=0))
    assert not compute(model_of(), photos, stages, augmentation=Augmentation("light", views=2, seed=1)).reused
    assert not compute(model_of(), photos, stages, augmentation=Augmentation("light", views=3, seed=0)).reused
    assert not compute(model_of(), photos, stages, augmentation=Augmentation("strong", views=2, seed=0)).reused
    assert compute(model_of(), photos, stages, augmentation=Augmentation("light", views=2, seed=0)).reused
    views = [one.array[one.rows(photos.train, view)] for view in (0, 1)]
    assert np.abs(views[0] - views[1]).max() > 1e-3


def test_features_no_room_for_memory_stay_on_disk_and_give_the_same_batches(photos, own_cache, monkeypatch):
    from tlkit.transfer import source

    stages = registry.find("mobilenet_v2").stages
    model = model_of()
    parts, found, order = (
        cut(model, stages),
        compute(model, photos, stages),
        [Step(np.array([5, 0, 3]), 0), Step(np.array([1]), 0)],
    )
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
    order = [Step(np.arange(6), 0)]
    (_, labels, cached), *_ = cached_source(
        cut(model, stages), compute(model, photos, stages), photos, weights
    ).batches(order)
    ((_, same, uncached),) = pixel_source(model, photos, SPEC, weights).batches(order)
    assert np.array_equal(labels, np.asarray(same))
    assert np.array_equal(cached, weights[labels])
    assert np.allclose(np.asarray(uncached), cached)
