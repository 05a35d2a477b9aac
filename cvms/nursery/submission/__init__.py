"""Submitter: signed transactions to the chain until their outcome is final."""
