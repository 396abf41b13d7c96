"""Gaussian mixtures fitted twice from the same data, by EM and as a PyMC posterior, and compared.

Importing this package loads neither PyMC nor matplotlib: every public name is loaded when it is first used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesgmm.bayes import Priors, build_model, fit_bayes
    from bayesgmm.comparison import Comparison, compare
    from bayesgmm.data import DATASETS, PreparedData, load_dataset, prepare
    from bayesgmm.em.fit import fit_em
    from bayesgmm.em.kmeans import fit_kmeans
    from bayesgmm.em.likelihood_ratio import bootstrap_lrt
    from bayesgmm.errors import (
        ArgumentError,
        BayesGMMError,
        BayesGMMWarning,
        ComparisonError,
        ConvergenceWarning,
        DataError,
        DataWarning,
        DegenerateFitWarning,
        FileFormatError,
        FitError,
        LabelWarning,
        SamplingWarning,
    )
    from bayesgmm.estimators import BayesianGaussianMixture, GaussianMixture
    from bayesgmm.fit import MixtureFit
    from bayesgmm.mixture import Mixture, simulate
    from bayesgmm.plots import (
        plot_comparison,
        plot_components,
        plot_density,
        plot_memberships,
        plot_pairs,
        plot_parameters,
        plot_trace,
    )
    from bayesgmm.posterior import Relabelling, relabel
    from bayesgmm.regions import anomaly_scores, cdf, highest_density_level, quantile
    from bayesgmm.regression import Regression, regress
    from bayesgmm.reporting import report
    from bayesgmm.storage import load
    from bayesgmm.structure import STRUCTURES, CovarianceStructure

_HOMES = {
    "bayesgmm.bayes": ("Priors", "build_model", "fit_bayes"),
    "bayesgmm.comparison": ("Comparison", "compare"),
    "bayesgmm.data": ("DATASETS", "PreparedData", "load_dataset", "prepare"),
    "bayesgmm.em.fit": ("fit_em",),
    "bayesgmm.em.kmeans": ("fit_kmeans",),
    "bayesgmm.em.likelihood_ratio": ("bootstrap_lrt",),
    "bayesgmm.errors": (
        "ArgumentError", "BayesGMMError", "BayesGMMWarning", "ComparisonError", "ConvergenceWarning", "DataError",
        "DataWarning", "DegenerateFitWarning", "FileFormatError", "FitError", "LabelWarning", "SamplingWarning",
    ),
    "bayesgmm.estimators": ("BayesianGaussianMixture", "GaussianMixture"),
    "bayesgmm.fit": ("MixtureFit",),
    "bayesgmm.mixture": ("Mixture", "simulate"),
    "bayesgmm.plots": (
        "plot_comparison", "plot_components", "plot_density", "plot_memberships", "plot_pairs", "plot_parameters",
        "plot_trace",
    ),
    "bayesgmm.posterior": ("Relabelling", "relabel"),
    "bayesgmm.regions": ("anomaly_scores", "cdf", "highest_density_level", "quantile"),
    "bayesgmm.regression": ("Regression", "regress"),
    "bayesgmm.reporting": ("report",),
    "bayesgmm.storage": ("load",),
    "bayesgmm.structure": ("STRUCTURES", "CovarianceStructure"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DATASETS",
    "STRUCTURES",
    "ArgumentError",
    "BayesGMMError",
    "BayesGMMWarning",
    "BayesianGaussianMixture",
    "Comparison",
    "ComparisonError",
    "ConvergenceWarning",
    "CovarianceStructure",
    "DataError",
    "DataWarning",
    "DegenerateFitWarning",
    "FileFormatError",
    "FitError",
    "GaussianMixture",
    "LabelWarning",
    "Mixture",
    "MixtureFit",
    "PreparedData",
    "Priors",
    "Regression",
    "Relabelling",
    "SamplingWarning",
    "anomaly_scores",
    "bootstrap_lrt",
    "build_model",
    "cdf",
    "compare",
    "fit_bayes",
    "fit_em",
    "fit_kmeans",
    "highest_density_level",
    "load",
    "load_dataset",
    "plot_comparison",
    "plot_components",
    "plot_density",
    "plot_memberships",
    "plot_pairs",
    "plot_parameters",
    "plot_trace",
    "prepare",
    "quantile",
    "regress",
    "relabel",
    "report",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("bayesgmm")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'bayesgmm' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
