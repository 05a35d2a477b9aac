"""Reads of what is indexed, from replicas of the database where they are new enough."""
