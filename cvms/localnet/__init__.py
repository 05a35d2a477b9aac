"""A local Solana chain for development and tests: the real virtual machine behind stock RPC."""

from cvms.localnet.node.faults import NodeFaults
from cvms.localnet.serve import Running, serve, serve_node
from cvms.localnet.types import Deployment, Timing

__all__ = ["Deployment", "NodeFaults", "Running", "Timing", "serve", "serve_node"]
