"""Words and pages: a summary of a fit for the terminal, and one self-contained HTML file about a comparison."""

from bayesgmm.reporting.page import report
from bayesgmm.reporting.summary import Summary, summarize

__all__ = ["Summary", "report", "summarize"]
