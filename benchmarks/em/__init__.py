"""EM against its peers: time and memory of an iteration, the way to convergence, and the optimum that is found.

`problems` makes the data and the starts, `systems` has one adapter for each peer, `workers` runs each of them in a
process of its own with a fixed number of threads; the other modules are one section of the results each.
"""
