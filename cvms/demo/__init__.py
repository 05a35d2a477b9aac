"""The demo: service and chain as a stranger's client sees them."""

from cvms.demo.chain_client import Addresses, DemoFailed
from cvms.demo.runner import STEPS, demo_command, run_demo

__all__ = ["STEPS", "Addresses", "DemoFailed", "demo_command", "run_demo"]
