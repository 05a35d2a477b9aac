"""The recorded questions, put in terms of the accounts and transactions of another run."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

Json = Any

FOLDER = Path(__file__).parent / "recordings"

PAYER = "GmaDrppBC7P5ARKV8g3djiwP89vz1jLK23V2GBjuAEGB"
RECIPIENT = "2KW2XRd9kwqet15Aha2oK3tYvd3nWbTFH1MBiRAv1BE1"
MINT = "4QHVBbG3H8kbwvcSwPnze3sC91kdeYWxNf8S5hkZ9nbZ"
PROGRAM = "5qgA2qcz6zXYiJJkomV1LJv8UhKueyNsqeCWJd6jC9pT"
TRANSFER = (
    "54WQCygcCW5dKHC6D4SDMBQ58wNFkDdyic9EqGGmSiCHo5x3saiPeHLTztFV5Qapa5JiZmpvFGVzR1BVCqfPyJUm"
)
FAILED = "3qtrGzXGLv6MTzm5SMYvRaBPWJHZknChcwMvr5LUSzWQXx1PEYiLo3CG2hAntxFhU7b376GUSsTk8zKVACj1oPrj"
SLOT = 34
"""That of both transfers, and the newest final one."""

METHODS_OF_SLOTS = frozenset(
    {
        "getBlock",
        "getBlockCommitment",
        "getBlocks",
        "getBlocksWithLimit",
        "getBlockTime",
        "getSlotLeaders",
    }
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and the recorded answer: a call of a method, or the body of a request."""

    number: int
    method: str
    params: list[Json]
    reply: Json
    body: str | None = None

    @property
    def names_encoding(self) -> bool:
        return any(isinstance(each, dict) and "encoding" in each for each in self.params)

    def __str__(self) -> str:
        asked = self.method if self.body is None else self.body
        return (
            f"{self.number} {asked} {json.dumps(self.params)[:60] if self.params else ''}".strip()
        )


@cache
def exchanges() -> tuple[Exchange, ...]:
    recorded = json.loads((FOLDER / "agave-4.2.2-rpc.json").read_bytes())["exchanges"]
    return tuple(
        Exchange(number, "", [], each["text"], each["body"])
        if "body" in each
        else Exchange(number, each["method"], each["params"], each["reply"])
        for number, each in enumerate(recorded)
    )


@cache
def refusals() -> tuple[Exchange, ...]:
    """Return questions that a validator refuses."""
    recorded = json.loads((FOLDER / "agave-4.2.2-refusals.json").read_bytes())["exchanges"]
    return tuple(Exchange(number, **each) for number, each in enumerate(recorded))


@cache
def pubsub_log() -> tuple[Json, ...]:
    """Return what was sent and heard, in order."""
    return tuple(json.loads((FOLDER / "agave-4.2.2-pubsub.json").read_bytes())["log"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The accounts and transactions of a run that stand for those of the recording."""

    payer: Keypair
    recipient: Pubkey
    mint: Pubkey
    program: Pubkey
    transfer: VersionedTransaction
    failed: VersionedTransaction
    slot: int
    names: Mapping[str, str] = field(init=False)
    """What stands for the words of the recording."""

    def __post_init__(self) -> None:
        names = {
            PAYER: str(self.payer.pubkey()),
            RECIPIENT: str(self.recipient),
            MINT: str(self.mint),
            PROGRAM: str(self.program),
            TRANSFER: str(self.transfer.signatures[0]),
            FAILED: str(self.failed.signatures[0]),
        }
        object.__setattr__(self, "names", names)

    @property
    def recorded_names(self) -> dict[str, str]:
        return {ours: theirs for theirs, ours in self.names.items()}

    def in_recorded_names(self, answer: Json) -> Json:
        """Return an answer of this run with the recorded names and slot in its words."""
        text = json.dumps(answer)
        for ours, theirs in self.recorded_names.items():
            text = text.replace(ours, theirs)
        return json.loads(text)

    def params(self, exchange: Exchange, blockhash: Hash) -> list[Json]:
        """Return a question's parameters in this run. `blockhash` is recent and confirmed."""
        return [self._replaced(value, exchange, blockhash) for value in exchange.params]

    def _replaced(self, value: Json, exchange: Exchange, blockhash: Hash) -> Json:
        match value:
            case str():
                return self.names.get(value) or (
                    self._rebuilt(value, blockhash) if exchange.names_encoding else value
                )
            case list():
                return [self._replaced(each, exchange, blockhash) for each in value]
            case dict():
                return {
                    key: self._replaced(each, exchange, blockhash) for key, each in value.items()
                }
            case int() if value == SLOT and exchange.method in METHODS_OF_SLOTS:
                return self.slot
            case _:
                return value

    def _rebuilt(self, text: str, blockhash: Hash) -> str:
        """Return a recorded transaction as one of this run. Any other text is returned as it is."""
        try:
            recorded = VersionedTransaction.from_bytes(base64.b64decode(text, validate=True))
        except ValueError:
            return text
        if len(recorded.signatures) != 1 or str(recorded.message.account_keys[0]) != PAYER:
            return text
        if str(recorded.signatures[0]) == TRANSFER:
            return base64.b64encode(bytes(self.transfer)).decode()
        message = self._rebuilt_message(recorded.message, blockhash)
        return base64.b64encode(bytes(VersionedTransaction(message, [self.payer]))).decode()

    def _rebuilt_message(self, message: Any, blockhash: Hash) -> Message | MessageV0:
        keys = [Pubkey.from_string(self.names.get(str(k), str(k))) for k in message.account_keys]
        known = message.recent_blockhash != Hash.default()
        recent = blockhash if known else message.recent_blockhash
        if isinstance(message, MessageV0):
            return MessageV0(message.header, keys, recent, message.instructions, [])
        header = message.header
        return Message.new_with_compiled_instructions(
            header.num_required_signatures,
            header.num_readonly_signed_accounts,
            header.num_readonly_unsigned_accounts,
            keys,
            recent,
            message.instructions,
        )
