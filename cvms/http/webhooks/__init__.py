"""Webhooks of integrators: endpoints and the messages that they get."""
