"""Webhooks of integrators: endpoints, their secrets, and what each of them has received."""
