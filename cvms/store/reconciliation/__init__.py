"""Reconciliation log, pass position and the ledger of a vault."""
