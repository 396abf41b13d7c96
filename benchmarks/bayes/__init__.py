"""The posterior against its peers: one gradient of the log density, and a whole posterior.

`problems` makes the rows, the prior and the start that all systems share, `systems` has one adapter for each peer,
`serve` runs in the process that each of them has to itself; the other modules are one section of the results each.
"""
