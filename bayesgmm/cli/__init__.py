"""The command ``bayesgmm``: from a file to a comparison, a page and saved fits.

Whatever is wrong with what the user asked for ends in one sentence on the error stream and a status that is not zero,
never in a traceback: 2 for a command that makes no sense, 1 for data that cannot be used, 130 after Ctrl-C. Results go
to the output stream, progress and warnings to the error stream. Heavy libraries load inside the commands, so that help
is there at once.
"""

from bayesgmm.cli.commands import cli, main
from bayesgmm.cli.talking import Interrupted

__all__ = ["Interrupted", "cli", "main"]
