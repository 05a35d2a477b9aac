"""Reads that many clients ask for, answered together, or from replicas that are new enough."""
