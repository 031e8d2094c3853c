"""What a fine-tuning will do, before it does it: `--plan`.

Parameters are counted on the model itself. Time is reckoned from one pass of a few photos on this machine: a training
step of a stage costs three times its forward pass (Kaplan et al., arXiv:2001.08361, section 2.1), a frozen one once.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

import keras

from tlkit.data.pipeline import Pixels
from tlkit.data.split import PhotoSet
from tlkit.models import registry
from tlkit.models.accounting import summarize
from tlkit.progress import Progress
from tlkit.transfer.auto import decide
from tlkit.transfer.begin import found_out
from tlkit.transfer.features import cut, estimate_bytes
from tlkit.transfer.inference import inference
from tlkit.transfer.lr_finder import STEPS
from tlkit.transfer.options import FinetuneOptions
from tlkit.transfer.phase import Phase
from tlkit.transfer.plans import Plan, plan

PHOTOS = 8  # timed
SECONDS = 6.0  # of importing, building and tracing, beside what grows with the photos
TRIAL = 0.5  # seconds of one setting of --tune


@dataclass(frozen=True, kw_only=True)
class StageForecast:
    """One stage, or the head.

    Attributes:
        stage: Its name; `head` comes last.
        parameters: Statistics of batch norms included.
        trained: Epochs in which it is trained, from 1, first and last; None when it is frozen throughout.
        learning_rates: In those epochs, phase by phase; None is to be found when the phase begins.
    """

    stage: str
    parameters: int
    trained: tuple[int, int] | None
    learning_rates: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One training to be.

    Attributes:
        strategy: As `--freeze` takes it.
        condition: When it will be this one; empty when it will.
        epochs: At most.
        stages: From input to output, the head last.
        seconds: Reckoned, of the whole.
        cache_bytes: What the frozen stages' output will take, at most.
    """

    strategy: str
    condition: str
    epochs: int
    stages: tuple[StageForecast, ...]
    seconds: float
    cache_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        return asdict(self)


def forecasts(options: FinetuneOptions, decided: Plan, photos: PhotoSet) -> list[Forecast]:
    """Returns what will happen: one forecast, or two where a probe of the features decides between them.

    Args:
        options: What the user said.
        decided: Its plan.
        photos: Found and split; a few of them are decoded.
    """
    model = registry.build(
        decided.architecture,
        classes=len(photos.classes),
        input_size=decided.input_size,
        head=decided.head,
        **decided.builder,
    )
    speed = _speed(model, decided, photos)
    if not decided.undecided:
        return [_forecast(model, options, decided, photos, speed, "")]
    thawing = plan(
        options,
        decide(len(photos.train), classes=len(photos.classes), share=1.0, probed=0, batch_size=options.batch_size),
    )
    return [
        _forecast(model, options, decided, photos, speed, "if little is wrong with what frozen features tell"),
        _forecast(model, options, thawing, photos, speed, "else"),
    ]


@dataclass(frozen=True, kw_only=True)
class _Speed:
    """Seconds for one photo: to decode it, and to run the whole network forward."""

    decode: float
    forward: float


def _speed(model: keras.Model, decided: Plan, photos: PhotoSet) -> _Speed:
    some = photos.train[:PHOTOS]
    pixels = Pixels(photos.root, some, decided.spec, keep=False)
    started = time.perf_counter()
    batch = pixels.load(range(len(some)))
    decode = (time.perf_counter() - started) / len(some)
    infer = inference(model)
    infer(batch)  # the first call traces
    started = time.perf_counter()
    infer(batch)
    return _Speed(decode=decode, forward=(time.perf_counter() - started) / len(some))


def _forecast(
    model: keras.Model, options: FinetuneOptions, decided: Plan, photos: PhotoSet, speed: _Speed, condition: str
) -> Forecast:
    parameters: dict[str, int] = {}
    macs: dict[str, int] = {}
    stages = decided.architecture.stages
    for layer in summarize(model).layers:
        stage = layer.stage if layer.stage in stages else "head"
        parameters[stage] = parameters.get(stage, 0) + layer.parameters
        macs[stage] = macs.get(stage, 0) + layer.macs
    text = "all-but-head" if decided.undecided else decided.freeze.text
    costs = [_phase(model, phase, options.batch_size, photos, macs, speed) for phase in decided.phases]
    return Forecast(
        strategy=decided.choice.strategy if decided.choice else text,
        condition=condition,
        epochs=decided.epochs,
        stages=tuple(
            _stage(name, index, parameters.get(name, 0), decided, options)
            for index, name in enumerate((*stages, "head"))
        ),
        seconds=SECONDS + TRIAL * (options.tune or 0) + sum(seconds for seconds, _ in costs),
        cache_bytes=sum(size for _, size in costs),
    )


def _stage(name: str, index: int, parameters: int, decided: Plan, options: FinetuneOptions) -> StageForecast:
    """Tells when a stage is trained; each behind it has a factor of `layer_decay` more."""
    stages = decided.architecture.stages
    phases = [phase for phase in decided.phases if name not in phase.frozen]
    factor = options.layer_decay ** (len(stages) - index)
    return StageForecast(
        stage=name,
        parameters=parameters,
        trained=(phases[0].first_epoch + 1, decided.epochs) if phases else None,
        learning_rates=tuple(phase.learning_rate and phase.learning_rate * factor for phase in phases),
    )


def _phase(
    model: keras.Model, phase: Phase, batch_size: int, photos: PhotoSet, macs: dict[str, int], speed: _Speed
) -> tuple[float, int]:
    """Returns the seconds of a phase, and the bytes that it caches."""
    whole = max(1, sum(macs.values()))
    frozen = sum(macs.get(stage, 0) for stage in phase.frozen) / whole * speed.forward
    trained = speed.forward - frozen
    train, val = len(photos.train), len(photos.val)
    sought = STEPS * batch_size if phase.learning_rate is None else 0  # photos seen while a rate is looked for
    epochs = phase.epochs * (3 * trained * train + trained * val) + 3 * trained * sought
    parts = cut(model, phase.frozen) if phase.cached else None
    if parts is None:
        again = phase.epochs * (train + val) + sought
        return epochs + frozen * again + speed.decode * (train + len(photos.held_out)), 0
    rows = len(photos.held_out) + train * (phase.views or 1)
    return epochs + (frozen + speed.decode) * rows, estimate_bytes(parts, rows)


def foresee(options: FinetuneOptions, progress: Progress | None = None) -> list[Forecast]:
    """Returns what `finetune` would do: per stage what is trained, when and how fast, with time and cache reckoned.

    Args:
        options: What to do.
        progress: Shows what happens; silent when None.

    Raises:
        TlkitError: bad input of any kind.
    """
    begun = found_out(options, progress or Progress())
    return forecasts(begun.options, begun.decided, begun.photos)
