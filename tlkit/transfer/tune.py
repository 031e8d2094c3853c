"""`--tune N`: tries settings of the head on cached features, and trains with the best if it is better than the default.

Tried are the head's width, dropout, learning rate and weight decay; the default is the first trial. Test photos are
never looked at. Below `FEW` training photos a setting is judged by 3-fold cross-validation over them, and the
validation split keeps its say on the best epoch and in the report; from there on by the validation split. The best is
compared with the default by cross-validation in either case.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import OptionError
from tlkit.lazy import require
from tlkit.progress import Progress
from tlkit.transfer.head_trials import Fold, Outcome, Setting, Training, dealt, epochs_of, measured
from tlkit.transfer.interrupt import stopping_softly
from tlkit.transfer.options import WEIGHT_DECAY, FinetuneOptions
from tlkit.transfer.phase import FAST
from tlkit.transfer.plans import Plan, plan

if TYPE_CHECKING:
    from tlkit.transfer.job import Prepared

FEW, FOLDS = 500, 3
MOST = 5000  # training photos that take part in the comparison
WIDTHS = (0, 64, 128, 256, 512)
# Where a number is looked for, both ends included; rates and decays on a logarithmic scale.
DROPOUT, RATE, DECAY = (0.0, 0.6), (3e-4, 3e-2), (1e-3, 1.0)
# The default is left only for what is better by this many standard errors of the difference.
CLEARLY = 2.0


def check(options: FinetuneOptions, decided: Plan) -> None:
    """Checks, before any photo is read, that there is a head to tune.

    Raises:
        OptionError: no phase trains the head alone on cached features, the head is the paper's, or nothing is left to
            look for.
        MissingDependencyError: Optuna is not installed.
    """
    if options.parent is not None:
        raise OptionError(
            f"--tune {options.tune} begins with a new head, and --from goes on with the run's own. Leave one of them "
            "out."
        )
    if options.multi_label:
        raise OptionError(f"--tune {options.tune} is for photos with one label each. Leave it out with --multi-label.")
    first, stages = decided.phases[0], decided.architecture.stages
    if first.frozen != stages:
        raise OptionError(
            f"--tune {options.tune} tries heads on the output of frozen stages, and with --freeze {decided.freeze.text}"
            f"{' and random weights' if decided.weights == 'none' else ''} no epoch trains the head alone. Use "
            "--freeze all-but-head, head-then:STRATEGY or auto, with pretrained weights, or leave --tune out."
        )
    if not first.cached:
        raise OptionError(
            f"--tune {options.tune} needs the output of frozen stages in the cache. Leave out --no-cache, --mix and "
            "--batch-norm train, or leave --tune out."
        )
    if decided.head != "gap":
        raise OptionError(f"--tune {options.tune} is for --head gap, not --head {decided.head}. Leave one of them out.")
    if all(value is not None for value in _given(options).values()):
        raise OptionError(
            f"--tune {options.tune} has nothing to look for: --head-width, --dropout, --learning-rate and "
            "--weight-decay are all given. Leave out what is to be found."
        )
    require("optuna", extra="tune")


def tuned(prepared: "Prepared", progress: Progress) -> tuple["Prepared", dict[str, Any]]:
    """Looks for a better head, and prepares its training.

    Args:
        prepared: With the default head.
        progress: Shows a bar over the trials, and says what was found.

    Returns:
        What is to be trained, and the manifest's `tuning`.

    Raises:
        OptionError: as `check`, now that `--freeze auto` is decided; or the features can't be cached.
    """
    from threadpoolctl import threadpool_limits

    from tlkit.transfer import job

    options = prepared.options
    check(options, prepared.decided)
    training, judged, make_folds = _task(prepared, progress)
    default, folds = _default(prepared), make_folds(options.seed + 1)
    search = _Search(training, judged or make_folds(options.seed), default, _given(options))
    other = replace(training, seed=options.seed + 1)
    with threadpool_limits(1):  # these products are too small to share: several threads take ten times as long
        search.run(options.tune or 0, options.seed, progress)
        chosen, found = _decide(search, lambda one: measured(folds, one, other), progress)
    found["validation"] = {
        "search": "validation split" if judged else f"{FOLDS}-fold cross-validation",
        "comparison": f"{FOLDS}-fold cross-validation",
        "photos": sum(len(fold.held_out_labels) for fold in folds),
        **found["validation"],
    }
    if chosen == default:
        return prepared, found
    options = replace(
        options,
        head_width=chosen.head_width,
        dropout=chosen.dropout,
        head_learning_rate=chosen.learning_rate,
        head_weight_decay=chosen.weight_decay,
    )
    decided = plan(options, prepared.decided.choice)
    again = job.prepare(options, decided, prepared.photos, Progress())
    return replace(again, callbacks=prepared.callbacks), found


def _given(options: FinetuneOptions) -> dict[str, float | None]:
    """Returns what the user has settled, None for what is to be found."""
    rate = None if options.learning_rate == "auto" else options.learning_rate
    alone, decay = options.head_learning_rate, options.head_weight_decay
    return {
        "head_width": options.head_width,
        "dropout": options.dropout,
        "learning_rate": rate if alone is None else alone,
        "weight_decay": options.weight_decay if decay is None else decay,
    }


def _default(prepared: "Prepared") -> Setting:
    options, rate = prepared.options, prepared.decided.phases[0].learning_rate
    decay = _given(options)["weight_decay"]
    return Setting(
        head_width=options.head_width or 0,
        dropout=0.2 if options.dropout is None else options.dropout,
        learning_rate=FAST if rate is None else rate,
        weight_decay=WEIGHT_DECAY if decay is None else decay,
    )


def _task(prepared: "Prepared", progress: Progress) -> tuple[Training, list[Fold], Callable[[int], list[Fold]]]:
    """Returns what all trials have in common, the validation split if it is what judges, and what makes folds."""
    from tlkit.transfer import phases

    options, photos, first = prepared.options, prepared.photos, prepared.decided.phases[0]
    found = phases.head_features(prepared, progress)
    if isinstance(found, str):
        raise OptionError(f"--tune {options.tune} needs the output of frozen stages in the cache: {found}.")
    views, held_out = found
    labels, val_labels = (np.array([photo.label for photo in part]) for part in (photos.train, photos.val))
    training = Training(
        schedule=phases.schedule_of(prepared, replace(first, learning_rate=FAST)),
        class_weights=phases.class_weights(prepared),
        label_smoothing=first.label_smoothing,
        seed=options.seed,
    )

    def make_folds(seed: int) -> list[Fold]:
        parts = dealt(labels, FOLDS, seed)
        if len(labels) > MOST:  # the others are in no fold
            parts[np.random.default_rng(seed).permutation(len(labels))[MOST:]] = FOLDS
        sides = [((parts != part) & (parts < FOLDS), parts == part) for part in range(FOLDS)]
        return [
            Fold(
                views=[view[train] for view in views],
                labels=labels[train],
                held_out=views[0][test],
                held_out_labels=labels[test],
            )
            for train, test in sides
        ]

    whole = Fold(views=views, labels=labels, held_out=held_out, held_out_labels=val_labels)
    return training, [whole] if len(labels) >= FEW and len(val_labels) else [], make_folds


class _Search:
    """The trials. The first is the default; Optuna's tree-structured Parzen estimator suggests the others."""

    def __init__(self, training: Training, folds: list[Fold], default: Setting, given: dict[str, float | None]) -> None:
        self._training, self._folds, self._given = training, folds, given
        self.default, self.best = default, default
        self.smallest = float("inf")
        self.trials: list[dict[str, Any]] = []

    def run(self, count: int, seed: int, progress: Progress) -> None:
        """Makes `count` trials; Ctrl-C ends them early, with the best so far."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=5),
        )
        study.enqueue_trial({name: v for name, v in asdict(self.default).items() if self._given[name] is None})
        message = "Stopping the search; training goes on with the best so far. Ctrl-C again stops at once"
        with progress.bar("Trying heads", count, unit="trials") as bar, stopping_softly(progress, message) as interrupt:
            for _ in range(count):
                trial = study.ask()
                setting = self._suggested(trial)
                outcome, state = None, "complete"
                for epoch, outcome in enumerate(epochs_of(self._folds, setting, self._training)):
                    trial.report(float(outcome.losses.mean()), epoch)
                    if interrupt.asked or (self.trials and trial.should_prune()):
                        state = "stopped" if interrupt.asked else "pruned"
                        break
                assert outcome is not None  # there is an epoch
                if interrupt.asked:
                    break
                self._count(setting, outcome, state)
                if state == "complete":
                    study.tell(trial, float(outcome.losses.mean()))
                else:
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                bar.advance(note=f"smallest log loss {self.smallest:.4f}")

    def _suggested(self, trial: Any) -> Setting:  # noqa: ANN401
        suggest: dict[str, Callable[[str], Any]] = {
            "head_width": lambda name: trial.suggest_categorical(name, WIDTHS),
            "dropout": lambda name: trial.suggest_float(name, *DROPOUT),
            "learning_rate": lambda name: trial.suggest_float(name, *RATE, log=True),
            "weight_decay": lambda name: trial.suggest_float(name, *DECAY, log=True),
        }
        fixed = asdict(self.default)
        return Setting(**{n: make(n) if self._given[n] is None else fixed[n] for n, make in suggest.items()})

    def _count(self, setting: Setting, outcome: Outcome, state: str) -> None:
        self.trials.append({**asdict(setting), **outcome.to_dict(), "state": state})
        loss = float(outcome.losses.mean())
        if state == "complete" and loss < self.smallest:
            self.smallest, self.best = loss, setting


def _decide(
    search: _Search, measure: Callable[[Setting], Outcome], progress: Progress
) -> tuple[Setting, dict[str, Any]]:
    """Compares the best setting with the default once more, in folds and an order that it was not chosen by."""
    default, best = search.default, search.best
    before = measure(default)
    after = before if best == default else measure(best)
    differences = before.losses - after.losses
    gain, error = float(differences.mean()), float(differences.std() / np.sqrt(len(differences)))
    better = gain > CLEARLY * error and after.right.mean() >= before.right.mean()
    found = {
        "trials": search.trials,
        "chosen": asdict(best if better else default),
        "best": asdict(best),
        "default": {**asdict(default), **before.to_dict()},
        "validation": after.to_dict(),
        "gain": {
            "log_loss": round(gain, 5),
            "standard_error": round(error, 5),
            "accuracy": round(float(after.right.mean() - before.right.mean()), 5),
            "kept_default": not better,
        },
    }
    about = (
        f"log loss {before.losses.mean():.4f} -> {after.losses.mean():.4f} (standard error of the difference "
        f"{error:.4f}), accuracy {before.right.mean():.1%} -> {after.right.mean():.1%}"
    )
    if best == default:
        progress.say(f"--tune: none of {len(search.trials)} trials was better than the default, which is kept")
    elif better:
        progress.say(f"--tune: {_in_words(best)}. Against the default, in other folds: {about}")
    else:
        progress.say(f"--tune: the default is kept; the best trial ({_in_words(best)}) is not clearly better: {about}")
    return (best if better else default), found


def _in_words(setting: Setting) -> str:
    hidden = f"{setting.head_width} hidden units" if setting.head_width else "no hidden layer"
    return (
        f"{hidden}, dropout {setting.dropout:.2f}, learning rate {setting.learning_rate:.1e}, weight decay "
        f"{setting.weight_decay:.1e}"
    )
