"""The commands with which a running service is operated."""
