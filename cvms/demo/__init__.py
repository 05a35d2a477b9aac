"""The demo: the service as a stranger's client sees it."""

from cvms.demo.client import Addresses, Client, DemoFailed
from cvms.demo.steps import STEPS, demo_command, run_demo

__all__ = ["STEPS", "Addresses", "Client", "DemoFailed", "demo_command", "run_demo"]
