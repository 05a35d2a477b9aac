"""Tests of the settlement of submissions whose outcome could not be proven."""
