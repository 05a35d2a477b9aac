"""Yield protocols: the rates for depositors, read from each protocol's own account.

Other packages use `sources`, which reads a list of accounts, and `rates`, which has the results.
Each protocol is a module that decodes an account into exact `Terms`.
"""
