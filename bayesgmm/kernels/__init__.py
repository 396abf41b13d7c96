"""The compiled inner loops of bayesgmm, on plain arrays.

One file per pass over the data. A kernel knows shapes and numbers, nothing of tables, units or results; the room that
calls it checks the arguments. Kernels that call each other live in one file: a cached kernel keeps the version of a
function that it imported from another file, even after that file has changed.
"""
