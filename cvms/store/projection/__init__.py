"""Writes that keep vault rows, their undo records and rebuilt tables."""
