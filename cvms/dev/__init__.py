"""The development environment on one machine: database, chain and service. Not for production."""
