"""The chain as one call reads it, at one commitment."""

from __future__ import annotations

from dataclasses import dataclass

from solders.account import Account
from solders.pubkey import Pubkey

from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import CallOptions
from cvms.localnet.rpc.call.rpc_errors import min_context_slot_not_reached
from cvms.localnet.types import Block, Json

API_VERSION = "4.2.2"
"""The Agave release whose replies are reproduced."""


@dataclass(frozen=True, slots=True)
class View:
    """The chain as of `block`."""

    node: Node
    block: Block

    @property
    def chain(self) -> LocalnetChain:
        return self.node.chain

    def account(self, key: Pubkey) -> Account | None:
        return self.chain.accounts.at(key, self.block.slot)

    def with_context(self, value: Json) -> Json:
        """Return `value` with the slot at which it was read."""
        return {"context": {"slot": self.block.slot, "apiVersion": API_VERSION}, "value": value}


def open_view(node: Node, config: CallOptions) -> View:
    """Open the view at a call's `commitment`. Raises RpcError if it is below `minContextSlot`."""
    block = node.bank(config.commitment())
    minimum = config.number("minContextSlot")
    if minimum is not None and block.slot < minimum:
        raise min_context_slot_not_reached(block.slot)
    return View(node, block)
