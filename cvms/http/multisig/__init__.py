"""Proposed withdrawals, their approvals and their co-signing."""
