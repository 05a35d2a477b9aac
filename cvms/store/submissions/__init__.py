"""Submissions, their budget and multisig proposals."""
