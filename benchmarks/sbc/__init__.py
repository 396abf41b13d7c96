"""Simulation-based calibration: are posteriors as wide as the truth is far, for every engine and structure?

Parameters are drawn from the prior, rows from the parameters; a sampler that is right puts the truth at a uniformly
distributed rank among its draws, for every quantity (Talts et al. 2018). `python -m benchmarks.sbc` runs it.
"""
