"""Views are given by the photo, the view's number and the seed, and by nothing else."""

import numpy as np
import pytest
import tensorflow as tf

from tlkit.data.augment import LEVELS, Augmentation
from tlkit.data.discover import discover
from tlkit.data.pipeline import Batch, Pixels
from tlkit.preprocess import PreprocessSpec

from ..conftest import photo

HASHES = [f"{i:064x}" for i in range(6)]
PIXELS = np.stack([np.asarray(photo(i, (32, 32))) for i in range(6)])


def views(augmentation, view, chosen=range(6)):
    chosen = list(chosen)
    keys = augmentation.keys([HASHES[i] for i in chosen], view)
    run = tf.function(augmentation.apply, autograph=False)
    return run(tf.constant(PIXELS[chosen]), tf.constant(keys)).numpy()


@pytest.mark.parametrize("level", ["light", "strong"])
def test_a_view_depends_on_no_other_photo_and_no_call_before(level):
    whole = views(Augmentation(level, views=None, seed=1), 2)
    other = Augmentation(level, views=None, seed=1)
    views(other, 0)
    assert np.array_equal(views(other, 2, [4, 1]), whole[[4, 1]])
    assert whole.dtype == np.float32
    assert whole.min() >= 0
    assert whole.max() <= 255


@pytest.mark.parametrize("level", ["light", "strong"])
def test_views_seeds_and_photos_differ(level):
    one = Augmentation(level, views=None, seed=1)
    first = views(one, 0)
    assert np.abs(first - PIXELS).mean() > 2
    assert np.abs(first - views(one, 1)).mean() > 2
    assert np.abs(first - views(Augmentation(level, views=None, seed=2), 0)).mean() > 2
    assert len({tuple(key) for key in one.keys(HASHES, 0)}) == 6


def test_epochs_take_the_views_in_turn_or_always_new_ones():
    assert [Augmentation("light", views=3, seed=0).view(epoch) for epoch in range(5)] == [0, 1, 2, 0, 1]
    assert [Augmentation("light", views=None, seed=0).view(epoch) for epoch in range(5)] == [0, 1, 2, 3, 4]


def test_light_never_mirrors_and_strong_does():
    """A white left half stays left."""
    half = np.zeros((6, 32, 32, 3), np.uint8)
    half[:, :, :16] = 200
    sides = {}
    for level in ("light", "strong"):
        augmentation = Augmentation(level, views=None, seed=0)
        keys = [augmentation.keys(HASHES, view) for view in range(8)]
        run = tf.function(augmentation.apply, autograph=False)
        made = np.concatenate([run(tf.constant(half), tf.constant(one)).numpy() for one in keys])
        sides[level] = np.mean(made[:, 8:24, 4:12].mean((1, 2, 3)) > made[:, 8:24, 20:28].mean((1, 2, 3)))
    assert sides["light"] == 1.0
    assert 0.2 < sides["strong"] < 0.8


def drawn(**values):
    """The key that draws these values, from -1 to 1, and 0 for the rest."""
    order = ("degrees", "x", "y", "zoom", "brightness", "contrast", "side")
    numbers = [values.get(name, 1e-9 if name == "side" else 0) for name in order] + [0]
    return tf.constant([[min(2**32 - 1, round((number + 1) * 2**31)) for number in numbers]], tf.uint32)


@pytest.mark.parametrize("level", ["light", "strong"])
def test_a_level_means_what_its_table_says(level):
    augmentation, table = Augmentation(level, views=None, seed=0), LEVELS[level]
    image = tf.constant(np.asarray(photo(3, (40, 40)))[None], tf.float32)

    def view(**values):
        return augmentation.apply(image, drawn(**values)).numpy()[0]

    plain = image.numpy()[0]
    assert np.abs(view() - plain).max() < 0.01
    pixels = round(40 * table.shift)
    assert np.abs(view(x=1)[:, :-pixels] - plain[:, pixels:]).max() < 0.1
    assert np.abs(view(y=-1)[pixels:] - plain[:-pixels]).max() < 0.1
    assert np.abs(view(brightness=0.5) - np.clip(plain + 127.5 * table.brightness, 0, 255)).max() < 0.1
    turned = tf.keras.preprocessing.image.apply_affine_transform(
        plain, theta=table.degrees, channel_axis=2, row_axis=0, col_axis=1, order=1
    )
    assert np.abs(view(degrees=1) - turned)[10:30, 10:30].mean() < 1
    if level == "strong":
        assert np.abs(view(side=-1) - plain[:, ::-1]).max() < 0.01
        assert view(contrast=1).std() > 1.1 * plain.std()
        assert view(contrast=-1).std() < 0.9 * plain.std()
    else:
        assert np.array_equal(view(side=-1, contrast=1), view())


def test_the_pipeline_gives_the_views_that_batches_name(make_folder):
    photos = discover(make_folder(each=3)).photos["all"]
    pixels = Pixels(make_folder(each=3), photos, PreprocessSpec(input_size=24))
    augmentation = Augmentation("light", views=2, seed=5)
    batches = [Batch(np.array([3, 0]), None), Batch(np.array([3, 0]), 1), Batch(np.array([0]), 1)]
    (_, plain), (_, viewed), (indices, alone) = pixels.dataset(batches, augmentation)
    assert np.array_equal(plain, pixels.load([3, 0]))
    assert np.abs(viewed - plain).max() > 5
    assert indices.tolist() == [0]
    assert np.array_equal(alone[0], viewed[1])
