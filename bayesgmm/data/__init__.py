"""A user's table in, prepared data out; names, units and their inverse; real data sets."""

from bayesgmm.data.datasets import DATASETS, load_dataset
from bayesgmm.data.prepare import PreparedData, prepare, read_rows
from bayesgmm.data.scaling import Scaling
from bayesgmm.data.tables import Table, read_table

__all__ = ["DATASETS", "PreparedData", "Scaling", "Table", "load_dataset", "prepare", "read_rows", "read_table"]
