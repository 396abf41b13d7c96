"""A user's table in, prepared data out; names, units and their inverse; real data sets."""

from bayesgmm.data.chunks import Stream
from bayesgmm.data.datasets import DATASETS, load_dataset
from bayesgmm.data.prepare import PreparedData, prepare, prepare_or_open, read_rows
from bayesgmm.data.scaling import Scaling
from bayesgmm.data.streams import open_stream
from bayesgmm.data.tables import Table, read_table

__all__ = [
    "DATASETS",
    "PreparedData",
    "Scaling",
    "Stream",
    "Table",
    "load_dataset",
    "open_stream",
    "prepare",
    "prepare_or_open",
    "read_rows",
    "read_table",
]
