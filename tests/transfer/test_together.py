"""Options that do not go together say so, before anything is read."""

import pytest

from tlkit.errors import OptionError
from tlkit.transfer import backend, grow, tune
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import plan


def options(**values):
    return FinetuneOptions(**{"base": "mobilenet_v2", "data": "x.csv", "multi_label": True, **values})


def test_several_labels_are_not_tuned():
    given = options(tune=3)
    with pytest.raises(
        OptionError, match="--tune 3 is for photos with one label each. Leave it out with --multi-label"
    ):
        tune.check(given, plan(given))


def test_several_labels_need_tensorflow(monkeypatch):
    monkeypatch.setattr(backend, "keras_backend", lambda: "jax")  # as of a process of its own
    with pytest.raises(OptionError, match="--multi-label needs the TensorFlow backend, and Keras takes 'jax'"):
        plan(options())


def test_runs_with_several_labels_do_not_grow(run):
    with pytest.raises(OptionError, match="--from grows runs on photos with one label each. Leave out --multi-label"):
        grow.inherit(options(base=None, parent=run, runs=run.parent))
