"""Deployment of the programs and of all that the service needs, for any cluster."""
