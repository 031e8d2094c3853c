"""The learning-rate finder: what is suggested after a sweep, and what of it is kept and shown.

Source: Smith, Cyclical Learning Rates for Training Neural Networks, arXiv:1506.01186, section 3.3, with rates that grow
exponentially. `sweep.py` makes the steps; nothing here needs Keras.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import CheckpointError
from tlkit.manifest import CHECKPOINTS, write_json, write_text
from tlkit.tables import csv_text
from tlkit.transfer.lr_plot import svg

if TYPE_CHECKING:
    from tlkit.progress import Progress
    from tlkit.transfer.options import FinetuneOptions

LOWEST, HIGHEST, STEPS = 1e-6, 1.0, 100
BATCHES = 10  # different ones, that come again and again
SMOOTHING = 0.9  # what a smoothed loss keeps of the one before
WORSE = 4.0  # times the smallest smoothed loss: there the sweep ends
WINDOW = 9  # steps, half a decade
RECORD = "learning_rates.json"


@dataclass(frozen=True, kw_only=True)
class Find:
    """A sweep and what it suggests.

    Attributes:
        rates: Of each step, rising, `[steps]`.
        losses: Mean loss of each step's batch, `[steps]`.
        smoothed: The same, made alike and exponentially smoothed.
        learning_rate: What is suggested, or of a phase in training, taken; None where the loss never fell.
        title: Of what was trained.
        phases: Of the training that this is the first of; 1 in a training, where each has its own.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    learning_rate: float | None
    title: str = ""
    phases: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        return asdict(self)


def rate_at(step: int) -> float:
    """Returns the learning rate of a step of the sweep: exponential from `LOWEST` to `HIGHEST`."""
    return LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))


def alike(losses: Sequence[float], batches: int) -> list[float]:
    """Takes from each loss what makes its batch harder than others: its loss in the first round, as good as untrained.

    A trained model's losses differ from batch to batch by more than they fall in a sweep.
    """
    first = losses[:batches]
    mean = sum(first) / len(first)
    return [loss - first[i % batches] + mean for i, loss in enumerate(losses)]


def smooth(losses: Sequence[float]) -> list[float]:
    """Returns the losses exponentially smoothed, without the bias toward 0 of the first ones.

    Source of the correction: Kingma and Ba, arXiv:1412.6980, section 3.
    """
    found, mean = [], 0.0
    for step, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found.append(mean / (1 - SMOOTHING**step))
    return found


def has_diverged(smoothed: Sequence[float]) -> bool:
    """Whether a sweep need not go on: the loss is much larger than it was, and no smaller than at the start."""
    return not math.isfinite(smoothed[-1]) or smoothed[-1] > max(WORSE * min(smoothed), smoothed[0])


def suggest(rates: Sequence[float], smoothed: Sequence[float]) -> float | None:
    """Returns the learning rate at which the smoothed loss falls most steeply against the logarithm of the rate.

    It is taken as it is, and not divided (docs/tuning.md has the figures). Slopes are those of lines fitted to `WINDOW`
    steps; what comes after the smallest loss does not count.

    Args:
        rates: Rising, `[steps]`.
        smoothed: Losses, `[steps]`.

    Returns:
        None where the loss never fell by a hundredth of what it was.
    """
    known = [loss if math.isfinite(loss) else math.inf for loss in smoothed]
    last = known.index(min(known))
    if known[last] > 0.99 * known[0] or last + 1 < WINDOW:
        return None
    logs = [math.log(rate) for rate in rates]
    slopes = [_slope(logs[i : i + WINDOW], known[i : i + WINDOW]) for i in range(last + 2 - WINDOW)]
    return rates[slopes.index(min(slopes)) + WINDOW // 2]


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Returns the slope of the line through points with the least squared error."""
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - middle_x) ** 2 for a in x)


class Finds:
    """What was found for the phases of a run, kept in its folder before training goes on.

    A run that was killed so goes on with the same rates. Besides what it reads itself, in `checkpoints/`, it writes
    `lr_find.csv` and `lr_find.svg`.

    Args:
        folder: Of the run.

    Raises:
        CheckpointError: what is there is broken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / CHECKPOINTS / RECORD
        self._by_phase: dict[int, Find] = {}
        try:
            self._by_phase = {int(k): Find(**v) for k, v in json.loads(self._path.read_text(encoding="utf-8")).items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, AttributeError) as err:
            raise CheckpointError(f"{self._path} is broken ({err}). Train again, without --resume.") from err

    def rate(self, phase: int) -> float | None:
        """Returns what a phase, from 0, trains with; None when it was not swept yet."""
        return self._by_phase[phase].learning_rate if phase in self._by_phase else None

    def add(self, phase: int, find: Find) -> None:
        """Keeps what a phase will train with.

        Raises:
            OSError: it can't be written.
        """
        self._by_phase[phase] = find
        self._path.parent.mkdir(exist_ok=True)
        write_json(self._path, {str(number): one.to_dict() for number, one in self._by_phase.items()})
        finds = [one for _, one in sorted(self._by_phase.items())]
        write_text(self._folder / "lr_find.csv", csv_of(finds))
        write_text(self._folder / "lr_find.svg", svg(finds))


def csv_of(finds: Sequence[Find]) -> str:
    """Returns one row for each step of sweeps: which sweep from 1, rate, loss, smoothed loss."""
    rows = [["sweep", "learning_rate", "loss", "smoothed_loss"]]
    for number, find in enumerate(finds, start=1):
        for row in zip(find.rates, find.losses, find.smoothed, strict=True):
            rows.append([str(number), *(f"{value:.6g}" for value in row)])
    return csv_text(rows)


def lr_find(options: "FinetuneOptions", progress: "Progress | None" = None) -> Find:
    """Looks for the learning rate of a training's first phase; trains nothing and leaves nothing but cached features.

    Args:
        options: Of the training.
        progress: Shows what happens; silent when None.

    Raises:
        TlkitError: as `finetune`.
    """
    from tlkit.lazy import import_keras
    from tlkit.progress import Progress
    from tlkit.transfer.photos import check_weights_file, read_photos
    from tlkit.transfer.plans import plan

    progress = progress or Progress()
    decided = plan(options)
    check_weights_file(decided)
    photos = read_photos(options, decided, progress)
    import_keras()
    from tlkit.transfer import job, phases

    prepared = job.prepare(options, decided, photos, progress)
    find = phases.find_rate(prepared, prepared.decided.phases[0], progress)
    return replace(find, phases=len(prepared.decided.phases))
