"""The exceptions and warnings of bayesgmm, one small tree.

Every exception is a :class:`BayesGMMError` and also the built-in exception that a caller would expect, so that both
``except bayesgmm.BayesGMMError`` and ``except ValueError`` work. A message says what is wrong in the user's own name
for it, with the value found, what was expected, and what to do.
"""

__all__ = [
    "ArgumentError",
    "BayesGMMError",
    "BayesGMMWarning",
    "ComparisonError",
    "ConvergenceWarning",
    "DataError",
    "DataWarning",
    "DegenerateFitWarning",
    "FileFormatError",
    "FitError",
    "LabelWarning",
    "SamplingWarning",
]


class BayesGMMError(Exception):
    """Base class of every exception that bayesgmm raises on purpose."""


class DataError(BayesGMMError, ValueError):
    """The table cannot be used as it is: wrong type, shape, missing or infinite values, too few rows."""


class ArgumentError(BayesGMMError, ValueError):
    """An argument is outside its legal range, or two arguments contradict each other."""


class FitError(BayesGMMError, RuntimeError):
    """A fit could not be completed, for instance because every start ended in a singular covariance."""


class ComparisonError(BayesGMMError, ValueError):
    """Fits that were handed to a comparison do not describe the same rows and columns."""


class FileFormatError(BayesGMMError, OSError):
    """A file is not a saved fit, is damaged, or was written by a newer version."""


class BayesGMMWarning(UserWarning):
    """Base class of every warning of bayesgmm."""


class ConvergenceWarning(BayesGMMWarning):
    """EM stopped before it converged; the message carries the iterations and the last gain."""


class DegenerateFitWarning(BayesGMMWarning):
    """A component has collapsed on a few rows, so that its likelihood is not bounded."""


class DataWarning(BayesGMMWarning):
    """The data were usable, but something about them was changed or deserves a look."""


class LabelWarning(BayesGMMWarning):
    """Component labels could not be matched across draws with certainty; component summaries are unreliable."""


class SamplingWarning(BayesGMMWarning):
    """A sampler reports trouble: chains disagree, divergences, too few effective draws."""
