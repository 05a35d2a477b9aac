"""A local Solana chain for development and tests: the real virtual machine behind stock RPC."""

from cvms.localnet.serve import serve
from cvms.localnet.types import Deployment, Running, Timing

__all__ = ["Deployment", "Running", "Timing", "serve"]
