"""Gaussian mixtures fitted twice from the same data, by EM and as a PyMC posterior, and compared.

Importing this package loads neither PyMC nor matplotlib: every public name is loaded when it is first used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesgmm.bayes import Evidence, Priors, build_model, fit_bayes, log_evidence, optimum_masses
    from bayesgmm.bayes.prior_predictive import prior_predictive
    from bayesgmm.bayes.random_components import ComponentNumber, number_of_components
    from bayesgmm.comparison import Comparison, FitTable, compare
    from bayesgmm.data import DATASETS, PreparedData, Stream, load_dataset, open_stream, prepare
    from bayesgmm.em.conjugate import ConjugatePrior
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
    from bayesgmm.imputation import Imputation, impute
    from bayesgmm.mixture import Mixture, simulate
    from bayesgmm.plots import (
        plot_comparison,
        plot_components,
        plot_credible_ball,
        plot_density,
        plot_em_trace,
        plot_entropy,
        plot_memberships,
        plot_pairs,
        plot_parameters,
        plot_projection,
        plot_selection,
        plot_similarity,
        plot_trace,
    )
    from bayesgmm.posterior import (
        CredibleBall,
        Partition,
        RelabelledAllocations,
        Relabelling,
        label_free_diagnostics,
        partition,
        relabel,
        relabel_allocations,
    )
    from bayesgmm.regions import anomaly_scores, cdf, highest_density_level, quantile
    from bayesgmm.regression import Regression, regress
    from bayesgmm.reporting import report
    from bayesgmm.selection import Selection, select
    from bayesgmm.storage import load
    from bayesgmm.structure import STRUCTURES, CovarianceStructure

_HOMES = {
    "bayesgmm.bayes": ("Evidence", "Priors", "build_model", "fit_bayes", "log_evidence", "optimum_masses"),
    "bayesgmm.bayes.prior_predictive": ("prior_predictive",),
    "bayesgmm.bayes.random_components": ("ComponentNumber", "number_of_components"),
    "bayesgmm.comparison": ("Comparison", "FitTable", "compare"),
    "bayesgmm.data": ("DATASETS", "PreparedData", "Stream", "load_dataset", "open_stream", "prepare"),
    "bayesgmm.em.conjugate": ("ConjugatePrior",),
    "bayesgmm.em.fit": ("fit_em",),
    "bayesgmm.em.kmeans": ("fit_kmeans",),
    "bayesgmm.em.likelihood_ratio": ("bootstrap_lrt",),
    "bayesgmm.errors": (
        "ArgumentError", "BayesGMMError", "BayesGMMWarning", "ComparisonError", "ConvergenceWarning", "DataError",
        "DataWarning", "DegenerateFitWarning", "FileFormatError", "FitError", "LabelWarning", "SamplingWarning",
    ),
    "bayesgmm.estimators": ("BayesianGaussianMixture", "GaussianMixture"),
    "bayesgmm.fit": ("MixtureFit",),
    "bayesgmm.imputation": ("Imputation", "impute"),
    "bayesgmm.mixture": ("Mixture", "simulate"),
    "bayesgmm.plots": (
        "plot_comparison", "plot_components", "plot_credible_ball", "plot_density", "plot_em_trace", "plot_entropy",
        "plot_memberships", "plot_pairs", "plot_parameters", "plot_projection", "plot_selection", "plot_similarity",
        "plot_trace",
    ),
    "bayesgmm.posterior": (
        "CredibleBall", "Partition", "RelabelledAllocations", "Relabelling", "label_free_diagnostics", "partition",
        "relabel", "relabel_allocations",
    ),
    "bayesgmm.regions": ("anomaly_scores", "cdf", "highest_density_level", "quantile"),
    "bayesgmm.regression": ("Regression", "regress"),
    "bayesgmm.reporting": ("report",),
    "bayesgmm.selection": ("Selection", "select"),
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
    "ComponentNumber",
    "ConjugatePrior",
    "ConvergenceWarning",
    "CovarianceStructure",
    "CredibleBall",
    "DataError",
    "DataWarning",
    "DegenerateFitWarning",
    "Evidence",
    "FileFormatError",
    "FitError",
    "FitTable",
    "GaussianMixture",
    "Imputation",
    "LabelWarning",
    "Mixture",
    "MixtureFit",
    "Partition",
    "PreparedData",
    "Priors",
    "Regression",
    "RelabelledAllocations",
    "Relabelling",
    "SamplingWarning",
    "Selection",
    "Stream",
    "anomaly_scores",
    "bootstrap_lrt",
    "build_model",
    "cdf",
    "compare",
    "fit_bayes",
    "fit_em",
    "fit_kmeans",
    "highest_density_level",
    "impute",
    "label_free_diagnostics",
    "load",
    "load_dataset",
    "log_evidence",
    "number_of_components",
    "open_stream",
    "optimum_masses",
    "partition",
    "plot_comparison",
    "plot_components",
    "plot_credible_ball",
    "plot_density",
    "plot_em_trace",
    "plot_entropy",
    "plot_memberships",
    "plot_pairs",
    "plot_parameters",
    "plot_projection",
    "plot_selection",
    "plot_similarity",
    "plot_trace",
    "prepare",
    "prior_predictive",
    "quantile",
    "regress",
    "relabel",
    "relabel_allocations",
    "report",
    "select",
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
