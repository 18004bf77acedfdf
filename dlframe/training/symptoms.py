"""What the curves of a training say of its health.

Each rule looks at a case and returns a finding or None. Thresholds are wide on purpose: a false alarm
costs more trust than a missed one costs time.
"""

from itertools import pairwise

from dlframe.training.case import Case, Finding, advice, also, chosen

__all__ = [
    "class_imbalance",
    "diverged",
    "learning_rate_too_high",
    "learning_rate_too_low",
    "nothing_learned",
    "overfitting",
    "training_too_short",
    "underfitting",
    "weights_too_large",
]

_SOME = 4
"""Epochs below which curves tell little."""
_HALF = 0.5
_FROZEN = 2e-5


def diverged(case: Case) -> Finding | None:
    """The loss became NaN or infinite."""
    if case.error is None:
        return None
    return Finding(
        name="diverged",
        seen=case.error.partition(";")[0],
        means="steps are too long for the slope, or inputs and targets have extreme values",
        mend=[
            *_rate(case, 0.1),
            *advice(case, "trainer.gradient_clip=1.0", "scheduler=warmup_cosine"),
        ],
    )


def learning_rate_too_high(case: Case) -> Finding | None:
    """The loss rises at once and stays high, jumps up and down, or grows again for good."""
    losses = case.curve("train/loss")
    if not case.judged:
        return None
    known, level = case.ignorant, case.level
    jumps = [b - a for a, b in pairwise(losses)]
    high = [jump for jump in jumps if jump > 0.1 * level]
    if known and losses[0] > 3 * known and min(losses) > 0.9 * known and not _sinks(losses):
        seen = (
            f"the training loss rose at once, to {losses[0]:.3g} in the first epoch, and never fell "
            f"below {min(losses):.3g}, where knowing nothing gives {known:.3g}"
        )
    elif losses[-1] > 2 * min(losses) and losses[-1] > max(_HALF * level, losses[0]):
        best = losses.index(min(losses)) + 1
        seen = (
            f"the training loss fell to {min(losses):.3g} in epoch {best} and has grown to "
            f"{losses[-1]:.3g} since"
        )
    elif len(losses) > _SOME and len(high) >= 0.25 * len(jumps):
        seen = (
            f"the training loss jumped up in {len(high)} of {len(jumps)} epochs, by up to "
            f"{max(high):.3g}, and ended at {losses[-1]:.3g}"
        )
    else:
        return None
    return Finding(
        name="learning_rate_too_high",
        seen=seen,
        means="steps are so long that they leap over the minimum",
        mend=[
            *_rate(case, 0.1),
            *advice(case, "scheduler=warmup_cosine", "trainer.gradient_clip=1.0"),
        ],
    )


def weights_too_large(case: Case) -> Finding | None:
    """The loss begins far above that of who knows nothing, and only sinks."""
    losses, known = case.curve("train/loss"), case.ignorant
    if not case.judged or known is None or losses[0] < 3 * known or not _sinks(losses):
        return None
    if losses[-1] < known:
        return None
    return Finding(
        name="weights_too_large",
        seen=(
            f"training began at a loss of {losses[0]:.3g} and came down to {losses[-1]:.3g}, where "
            f"knowing nothing gives {known:.3g}"
        ),
        means="the outputs of the untrained network are large, and training is spent on shrinking them",
        mend=advice(case, "initializer=default", *_normalized(case)),
    )


def _sinks(losses: list[float]) -> bool:
    """Whether a loss comes down step by step, as from a bad start, and not after one great leap."""
    falls = [a > b > 0.1 * a for a, b in pairwise(losses)]
    return sum(falls) >= 0.9 * len(falls)


def learning_rate_too_low(case: Case) -> Finding | None:
    """The loss falls in every epoch, in a straight line, and hardly at all."""
    losses = case.curve("train/loss")
    if not case.judged or len(losses) < _SOME or case.settles:
        return None
    falls = [a - b for a, b in pairwise(losses)]
    middle = len(falls) // 2
    first, second = sum(falls[:middle]), sum(falls[len(falls) - middle :])
    share = (losses[0] - losses[-1]) / abs(losses[0]) if losses[0] else 0.0
    straight = first > 0 and 0.6 < second / first < 1.7
    steady = sum(fall > 0 for fall in falls) >= 0.9 * len(falls)
    # Even the output's bias alone would move it more at any rate that is of use.
    frozen = max(losses) - min(losses) < _FROZEN * case.level
    slow = steady and straight and 0 < share < 0.25
    if not (frozen or slow) or losses[-1] < _HALF * case.level:
        return None
    rates = case.curve("optim/lr")
    rate = f" at a learning rate of {rates[-1]:.3g}" if rates else ""
    factor = 10.0 if share > 0.02 else 1000.0
    how = (
        f"stayed at {losses[-1]:.5g}, to within {max(losses) - min(losses):.1g},"
        if frozen
        else f"fell in a straight line from {losses[0]:.4g} to {losses[-1]:.4g} ({100 * share:.2g} %)"
    )
    return Finding(
        name="learning_rate_too_low",
        seen=f"the training loss {how} in {len(losses)} epochs{rate}",
        means="steps are so short that training has hardly left its start",
        mend=_rate(case, factor),
    )


def class_imbalance(case: Case) -> Finding | None:
    """The network names the most frequent class whatever it sees."""
    accuracies, recalls = case.curve("val/accuracy"), case.curve("val/recall")
    share, classes = case.majority, len(case.class_counts)
    if share is None or not recalls or classes < 2 or share < max(0.6, 1.5 / classes):
        return None
    chance = 1 / classes
    if max(recalls) > chance + 0.1 * (1 - chance):
        return None
    # The loss is named along, since that of a table is known only once it has been read.
    weighted = f"loss={chosen(case, 'loss')} loss.class_weights=balanced"
    unweighted = "class_weights" in case.config["loss"] and not case.config["loss"]["class_weights"]
    return Finding(
        name="class_imbalance",
        seen=(
            f"validation accuracy {accuracies[-1]:.3f} is the share of the most frequent class "
            f"({share:.3f} of the training examples), and recall averaged over the classes is "
            f"{recalls[-1]:.3f}, where always naming one class gives {chance:.3f}"
        ),
        means="rare classes weigh too little in the loss to be learned",
        mend=[*([weighted] if unweighted else []), *advice(case, "loss=focal")],
    )


def nothing_learned(case: Case) -> Finding | None:
    """The loss is that of who knows only frequencies or means."""
    training, validation = case.curve("train/loss"), case.curve("val/loss")
    if not case.judged or not validation or len(training) < _SOME:
        return None
    known = case.ignorant
    if known is not None:
        if min(validation) < 0.97 * known or min(training) < 0.93 * known:
            return None
        what = "the frequencies of the classes" if case.class_counts else "the mean of the targets"
        seen = (
            f"the validation loss never fell below {min(validation):.4g}, and knowing {what} alone "
            f"gives {known:.4g}"
        )
    else:
        moved = (max(training) - min(training)) / (abs(training[0]) or 1.0)
        if moved > 0.02:
            return None
        seen = (
            f"the training loss stayed between {min(training):.4g} and {max(training):.4g} in "
            f"{len(training)} epochs"
        )
    watch = () if case.rows else ("trainer.watch=true",)
    return Finding(
        name="nothing_learned",
        seen=seen,
        means=(
            "the outputs do not depend on the inputs: gradients vanish on their way, units are dead, "
            "the learning rate is far off, or inputs and targets do not belong together"
        ),
        mend=advice(case, *watch, "initializer=kaiming", *_normalized(case), "activation=relu"),
    )


def overfitting(case: Case) -> Finding | None:
    """Validation gets worse while training gets better."""
    training, validation = case.curve("train/loss"), case.curve("val/loss")
    if not case.judged or len(validation) < _SOME or case.config["trainer"]["overfit"]:
        return None
    best = validation.index(min(validation))
    place = round((best + 1) / len(validation) * len(training))
    gap = validation[-1] - training[-1]
    risen = validation[-1] > 1.1 * validation[best] and place <= 0.7 * len(training)
    learned = training[-1] < 0.9 * training[max(0, place - 1)]
    if not (risen and learned and gap > 0.1 * case.level):
        return None
    decay = ("optimizer=adamw",) if chosen(case, "optimizer") == "adam" else ()
    return Finding(
        name="overfitting",
        seen=(
            f"the validation loss was lowest in epoch {place} of {len(training)} "
            f"({validation[best]:.3g}) and rose to {validation[-1]:.3g}, while the training loss fell "
            f"to {training[-1]:.3g}"
        ),
        means="the network learns single examples by heart; more data would help most",
        mend=advice(
            case,
            *(also(case, name) for name in ("early_stopping", "dropout", "l2")),
            *decay,
        ),
    )


def underfitting(case: Case) -> Finding | None:
    """Training stands still at a high loss, and validation is no worse."""
    training, validation = case.curve("train/loss"), case.curve("val/loss")
    known = case.ignorant
    if not case.judged or known is None or not validation or len(training) < 2 * _SOME:
        return None
    if case.settles or case.config["trainer"]["overfit"]:
        return None
    late = training[-max(3, len(training) // 4) :]
    flat = (late[0] - late[-1]) < 0.03 * late[0]
    # Of numbers the inputs often tell little; of classes they tell nearly all in most data.
    high = min(training[-1], validation[-1]) > (0.8 if case.task == "regression" else 0.45) * known
    if not (flat and high and validation[-1] - training[-1] < 0.1 * known):
        return None
    return Finding(
        name="underfitting",
        seen=(
            f"the training loss stands at {training[-1]:.3g} since epoch "
            f"{len(training) - len(late) + 1}, where knowing nothing gives {known:.3g}, and the "
            f"validation loss is {validation[-1]:.3g}"
        ),
        means="the network is too small or too much held back, or the inputs do not say more",
        mend=advice(case, *_larger(case), *_unregularized(case)),
    )


def training_too_short(case: Case) -> Finding | None:
    """Both losses were still falling at the end."""
    training, validation = case.curve("train/loss"), case.curve("val/loss")
    options = case.config["trainer"]
    if not case.judged or len(validation) <= _SOME or len(training) != len(validation):
        return None
    if case.settles or options["overfit"] or options["max_epochs"] < 1:
        return None
    back = max(1, len(validation) // 5) + 1
    fall = 1 - validation[-1] / validation[-back] if validation[-back] > 0 else 0.0
    both = validation[-1] == min(validation) and training[-1] == min(training)
    if not (both and fall > 0.1 and validation[-1] > 0.1 * case.level):
        return None
    return Finding(
        name="training_too_short",
        seen=(
            f"the validation loss still fell by {100 * fall:.0f} % in the last {back - 1} of "
            f"{len(validation)} epochs, to {validation[-1]:.3g}"
        ),
        means="training ended before it was done",
        mend=[f"trainer.max_epochs={3 * int(options['max_epochs'])}", *_rate(case, 3.0)],
    )


def _rate(case: Case, factor: float) -> list[str]:
    """Return the override for another learning rate, where the optimizer has one."""
    rate = case.config["optimizer"].get("lr")
    return [f"optimizer.lr={rate * factor:.3g}"] if isinstance(rate, float) else []


def _normalized(case: Case) -> list[str]:
    return ["architecture.normalization=batch"] if chosen(case, "architecture") in _DENSE else []


_DENSE = ("mlp", "cnn")


def _larger(case: Case) -> list[str]:
    """Return the override for wider layers, where the architecture has widths."""
    node = case.config["architecture"]
    for option in ("hidden", "channels"):
        if isinstance(widths := node.get(option), (list, tuple)) and widths:
            wider = ",".join(str(max(64, 4 * width)) for width in widths)
            return [f"architecture.{option}=[{wider}]"]
    for option in ("width", "hidden"):
        if isinstance(width := node.get(option), int):
            return [f"architecture.{option}={4 * width}"]
    return []


def _unregularized(case: Case) -> list[str]:
    return ["regularizer=[]"] if case.config["regularizer"] else []
