"""What can be chosen about an export. Imports nothing heavy, so wrong options are refused at once."""

from dataclasses import dataclass
from pathlib import Path

from tlkit.convert.limits import LIMITS
from tlkit.errors import OptionError, did_you_mean

FORMATS = ("tflite",)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The arguments of `export`.

    Attributes:
        to: A format of `FORMATS`.
        precision: A key of `LIMITS`.
        data: Where the run's photos are now, if they have moved.
        calibration: Photos for calibration, at most; `tlkit.data.calibration.DEFAULT_CALIBRATION` when
            None. Precisions without it ignore it.
        min_agreement: Instead of the precision's limit; recorded.
        max_drop: Instead of the precision's limit, a fraction; recorded.
    """

    to: str = "tflite"
    precision: str = "float32"
    data: str | Path | None = None
    calibration: int | None = None
    min_agreement: float | None = None
    max_drop: float | None = None


def check_options(options: ExportOptions) -> None:
    """Checks names and ranges.

    Raises:
        OptionError: an unknown format or precision, or a number outside its range.
    """
    for flag, value, known in (("to", options.to, FORMATS), ("precision", options.precision, tuple(LIMITS))):
        if value not in known:
            *first, last = known
            names = f"{', '.join(first)} or {last}" if first else last
            raise OptionError(f"--{flag} takes {names}, not {value!r}.{did_you_mean(value, known)}")
    for name, fraction in (("min-agreement", options.min_agreement), ("max-drop", options.max_drop)):
        if fraction is not None and not 0 <= fraction <= 1:
            raise OptionError(f"--{name} is a fraction from 0 to 1, not {fraction}.")
    if options.calibration is not None and options.calibration < 10:
        raise OptionError(f"--calibration needs at least 10 photos, not {options.calibration}.")
