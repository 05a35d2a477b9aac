"""The demo: a client that uses only the public interfaces of service and chain."""

from cvms.demo.chain_client import Addresses, DemoFailed
from cvms.demo.runner import STEPS, demo_command, run_demo

__all__ = ["STEPS", "Addresses", "DemoFailed", "demo_command", "run_demo"]
