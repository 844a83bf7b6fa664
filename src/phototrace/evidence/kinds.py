"""The one place that distinguishes tasks with classes from tasks with a number in a range.

What follows from it (figures, sections of a page, sentences) goes by the type of the evaluation.
"""

from __future__ import annotations

from phototrace.errors import UsageError
from phototrace.evidence.comparison import Comparison, NumberComparison, compare, compare_numbers
from phototrace.evidence.evaluation import Evaluation, evaluate
from phototrace.evidence.numbers import NumberEvaluation, evaluate_numbers
from phototrace.evidence.predictions import NumberPredictions, Predictions

AnyPredictions = Predictions | NumberPredictions
AnyEvaluation = Evaluation | NumberEvaluation
AnyComparison = Comparison | NumberComparison


def with_classes(predictions: AnyPredictions) -> Predictions:
    """The table of a task with classes; `UsageError` where it is of numbers."""
    if isinstance(predictions, NumberPredictions):
        raise UsageError(f"The task {predictions.task!r} has a range, and classes are needed here.")
    return predictions


def evaluate_any(
    predictions: AnyPredictions, *, seed: int = 0, resamples: int = 2000
) -> AnyEvaluation:
    """The evaluation that goes with the kind of predictions; see there for errors."""
    if isinstance(predictions, NumberPredictions):
        return evaluate_numbers(predictions, seed=seed, resamples=resamples)
    return evaluate(predictions, seed=seed, resamples=resamples)


def compare_any(
    a: AnyPredictions, b: AnyPredictions, *, seed: int = 0, resamples: int = 2000
) -> AnyComparison | None:
    """The comparison of two tables; None where they are not of the same task.

    Raises:
        UsageError: if they do, but share no patch, or one of them holds a patch twice.
    """
    if a.task != b.task:
        return None
    if isinstance(a, Predictions) and isinstance(b, Predictions):
        same = a.classes == b.classes
        return compare(a, b, seed=seed, resamples=resamples) if same else None
    if isinstance(a, NumberPredictions) and isinstance(b, NumberPredictions):
        same = (a.unit, a.range) == (b.unit, b.range)
        return compare_numbers(a, b, seed=seed, resamples=resamples) if same else None
    return None
