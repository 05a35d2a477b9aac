"""What a call reads: the chain as of one commitment, with the context its answer carries."""

from __future__ import annotations

from dataclasses import dataclass

from solders.account import Account
from solders.pubkey import Pubkey

from cvms.localnet.ledger.chain import Chain
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import Config
from cvms.localnet.rpc.call.rpc_errors import min_context_slot_not_reached
from cvms.localnet.types import Block, Commitment, Json

API_VERSION = "3.1.0"
"""The Agave release whose replies these are."""


@dataclass(frozen=True, slots=True)
class View:
    """The chain as of `block`."""

    node: Node
    block: Block

    @property
    def chain(self) -> Chain:
        return self.node.chain

    def account(self, key: Pubkey) -> Account | None:
        return self.chain.accounts.at(key, self.block.slot)

    def answer(self, value: Json) -> Json:
        """`value` with the slot it holds for."""
        return {"context": {"slot": self.block.slot, "apiVersion": API_VERSION}, "value": value}


def open_view(node: Node, config: Config, *, default: Commitment = Commitment.FINALIZED) -> View:
    """The view a call's `commitment` asks for, if it has reached its `minContextSlot`."""
    block = node.bank(config.commitment(default))
    wanted = config.slot("minContextSlot")
    if wanted is not None and block.slot < wanted:
        raise min_context_slot_not_reached(block.slot)
    return View(node, block)
