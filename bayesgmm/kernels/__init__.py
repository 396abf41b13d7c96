"""The compiled inner loops of bayesgmm, on plain arrays.

A kernel knows shapes and numbers, nothing of tables, units or results; the room that calls it checks the arguments.
What is compiled is kept on disk; kernels of several files may call each other (caching.py).
"""

from bayesgmm.kernels.caching import keep_together

keep_together()
