"""The decode that a training was begun with travels with the run."""

import pytest

from tlkit.preprocess import PreprocessSpec
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.plans import plan


@pytest.mark.parametrize("decode", ["full", "scaled"])
def test_the_spec_of_a_training_has_its_decode(decode):
    options = FinetuneOptions(base="mobilenet_v2", data="photos", weights="none", input_size=96, decode=decode)
    spec = plan(FinetuneOptions.from_dict(options.to_dict())).spec
    assert spec == PreprocessSpec(input_size=96, decode=decode)
    assert PreprocessSpec.from_dict(spec.to_dict()) == spec


def test_options_of_a_run_that_knew_no_decode_mean_full():
    old = FinetuneOptions(base="mobilenet_v2").to_dict()
    del old["decode"]
    assert FinetuneOptions.from_dict(old).decode == "full"
