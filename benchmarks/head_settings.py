"""Which epochs, rate, views and weight decay suit a head on frozen features, cross-validated over training photos.

    python benchmarks/head_settings.py SHARED [--repeat 3]

SHARED holds data/ants_bees, data/sign_digits and the weights of MobileNetV2. Test photos are not looked at. In each of
5 folds a head is trained on 85 % of the other photos, its best epoch is chosen on the rest, and the fold judges it.
Prints mean accuracy and log loss of each setting; `tlkit/transfer/auto.py` holds the one that was chosen by them.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from tlkit.data.augment import Augmentation
from tlkit.data.discover import discover
from tlkit.models import registry
from tlkit.models.weights import load_weights
from tlkit.preprocess import PreprocessSpec
from tlkit.progress import Screen
from tlkit.transfer.features import Wanted, cut, features_of
from tlkit.transfer.head_trials import Fold, Setting, Training, softmax, trained
from tlkit.transfer.schedule import Schedule

FOLDS, VAL, PATIENCE, VIEWS = 5, 0.15, 8, 4
SETTINGS = list(itertools.product((0, VIEWS), (1e-3, 2e-3, 3e-3), (30, 60), (0.01, 1.0)))


def features(shared: Path, name: str, size: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Returns features of the training photos, of their views, and labels."""
    folder = discover(shared / "data" / name)
    photos = folder.photos["train"]
    architecture = registry.find("mobilenet_v2")
    model = registry.build(architecture, classes=len(folder.classes), input_size=size, head="gap")
    load_weights(model, architecture, shared / "weights" / "mobilenet_v2_1.0_224_imagenet.weights.h5")
    views = Augmentation("light", views=VIEWS, seed=0)
    spec = PreprocessSpec(input_size=size)
    wanted = Wanted(root=folder.root, plain=photos, viewed=photos, augmentation=views, spec=spec)
    found = features_of(cut(model, architecture.stages), wanted, progress=Screen())
    each = [np.asarray(found.array[found.rows(photos, view)]) for view in range(VIEWS)]
    return np.asarray(found.array[found.rows(photos)]), each, np.array([photo.label for photo in photos])


def judge(
    plain: np.ndarray, views: list[np.ndarray], labels: np.ndarray, setting: Setting, epochs: int, seed: int
) -> list[tuple[float, float]]:
    """Returns accuracy and log loss on each fold."""
    folds = np.array_split(np.random.default_rng(seed).permutation(len(labels)), FOLDS)
    classes, found = len(set(labels)), []
    for number, test in enumerate(folds):
        rest = np.concatenate([fold for i, fold in enumerate(folds) if i != number])
        val, train = np.split(rest, [round(VAL * len(rest))])
        fold = Fold(
            views=[view[train] for view in views],
            labels=labels[train],
            held_out=plain[np.concatenate([val, test])],
            held_out_labels=labels[np.concatenate([val, test])],
        )
        schedule = Schedule(epochs=epochs, batch_size=32, learning_rate=setting.learning_rate, patience=PATIENCE)
        common = Training(
            schedule=schedule, class_weights=np.ones(classes), label_smoothing=0.0, seed=FOLDS * seed + number
        )
        best, least, stale = np.empty(0), np.inf, 0
        for logits in trained(fold, setting, common):
            probabilities = softmax(logits.astype(np.float64))
            loss = -np.log(probabilities[np.arange(len(val)), labels[val]] + 1e-12).mean()
            stale += 1
            if loss < least:
                least, best, stale = loss, probabilities[len(val) :], 0
            if stale == PATIENCE:
                break
        own = best[np.arange(len(test)), labels[test]]
        found.append((np.mean(best.argmax(axis=1) == labels[test]), -np.log(own + 1e-12).mean()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    for name, size in (("ants_bees", 224), ("sign_digits", 96)):
        plain, views, labels = features(options.shared, name, size)
        for count, rate, epochs, decay in SETTINGS:
            setting = Setting(head_width=0, dropout=0.2, learning_rate=rate, weight_decay=decay)
            taken = views[:count] if count else [plain]
            with threadpool_limits(1):
                found = [judge(plain, taken, labels, setting, epochs, seed) for seed in range(options.repeat)]
            accuracy, loss = np.mean(np.concatenate(found), axis=0)
            print(
                f"{name:<12} views {count}, rate {rate:g}, epochs {epochs}, weight decay {decay:g}: "
                f"accuracy {accuracy:.4f}, log loss {loss:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
