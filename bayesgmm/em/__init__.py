"""Maximum likelihood: starts, the EM loop, the M steps of every structure.

Everything here works on standardised rows and plain arrays; units, names and the result type belong to `em.fit`.
"""
