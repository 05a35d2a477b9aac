"""Transactions: building, signing, simulation and sponsorship."""
