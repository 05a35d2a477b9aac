"""Yield protocols: what depositors earn, read from each protocol's own account.

`sources` reads a list of accounts and is all that other packages need; `rates` has what it returns.
A protocol is one module that turns an account's bytes into exact `Terms`.
"""
