"""What R's mclust 6.0.0 reaches: log-likelihoods after tight iterations (1e-13) from the partitions beside them.

Fourteen structures (two in one dimension), one to nine components, four data sets; None where mclust found a singular
covariance. mclust.json is a table of facts; it was computed once, with me() and mvn().
"""

import json
from pathlib import Path

import numpy as np

from bayesgmm.data import load_dataset
from bayesgmm.structure import as_structure

REFERENCES = json.loads((Path(__file__).parent / "mclust.json").read_text())

# mclust's VVE does not end at a stationary point: one exact M step from its parameters gains up to 1e-3 of the value.
NOT_STATIONARY = {"VVE"}


def rows_of(name):
    return load_dataset(name, corrected=False).to_numpy(dtype=float)


def standardised(name, code):
    """Return standardised rows, the structure, and what takes their log-likelihood to the user's units."""
    rows = rows_of(name)
    structure = as_structure(code, rows.shape[1])
    sds = rows.std(axis=0)
    if not structure.is_scale_equivariant:
        sds = np.full_like(sds, np.sqrt(np.mean(sds**2)))
    return (rows - rows.mean(axis=0)) / sds, structure, len(rows) * np.log(sds).sum()


def labels_of(name, k):
    return np.array([int(label) - 1 for label in REFERENCES[name]["starts"][str(k)]])


def log_likelihood_of(name, code, k):
    return REFERENCES[name]["log_likelihood"][code][k - 1]
