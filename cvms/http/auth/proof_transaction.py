"""Transactions that prove who signed a text, and are never sent: some wallets sign nothing else.

Only whole messages are accepted, byte for byte: one instruction, which is a memo with the text; the
signer as fee payer and only signer; no lookup tables. The block hash is one that no chain accepts,
so the transaction can never be executed, and one that was, or could be, is never a proof. A durable
nonce cannot replace the block hash: it takes another instruction, before all others.
"""

from __future__ import annotations

from collections.abc import Iterator

from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey

MEMO_PROGRAMS = (
    Pubkey.from_string("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo"),
    Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"),
)
# No block has the first. The others are the genesis hashes of mainnet, testnet and devnet, which
# have long expired, for wallets that refuse the first.
DEAD_BLOCK_HASHES = (
    Hash.default(),
    Hash.from_string("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"),
    Hash.from_string("4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY"),
    Hash.from_string("EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"),
)


def proof_messages(text: str, signer: Pubkey) -> Iterator[bytes]:
    """Yield every transaction message that proves that the signer has signed the text."""
    for program in MEMO_PROGRAMS:
        for accounts in ([], [AccountMeta(signer, is_signer=True, is_writable=True)]):
            memo = Instruction(program, text.encode(), accounts)
            for block_hash in DEAD_BLOCK_HASHES:
                yield bytes(Message.new_with_blockhash([memo], signer, block_hash))
                versioned = MessageV0.try_compile(signer, [memo], [], block_hash)
                yield to_bytes_versioned(versioned)
