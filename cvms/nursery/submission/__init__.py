"""Submission of signed transactions until their outcome is final."""
