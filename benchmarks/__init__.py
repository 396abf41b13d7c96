"""What bayesgmm measures of itself and of its peers: `python -m benchmarks`, or `make bench`.

Everything here is for whoever wants to check a claim on a machine of their own. A peer that is not installed is named
as missing and left out; nothing here is imported by the package.
"""
