"""Mutations of a planned transaction. Each is a name and three numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, CompiledInstruction, Instruction
from solders.message import Message, MessageHeader, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from cvms.chain.transactions.versioned import AnyMessage, instructions_of, required_signers
from tests.http.operations.wallet_rewrites import reordered

Mutation = tuple[str, int, int, int]


@dataclass(slots=True)
class Draft:
    """A transaction in pieces, and what mutations may put into it."""

    instructions: list[Instruction]
    payer: Pubkey
    blockhash: Hash
    pool: Sequence[Pubkey]
    guards: Sequence[Pubkey]
    others: Sequence[Instruction]
    """Whole instructions of an attacker: transfers, withdrawals, and the like."""
    blockhashes: Sequence[Hash]
    legacy: bool = False
    looked_up: bool = False
    after: list[Callable[[AnyMessage], AnyMessage]] = field(default_factory=list)

    @classmethod
    def of(cls, message: AnyMessage, **choices: Sequence[object]) -> Draft:
        payer = required_signers(message)[0]
        return cls(instructions_of(message), payer, message.recent_blockhash, **choices)  # type: ignore[arg-type]

    def compiled(self) -> AnyMessage:
        """Raises ValueError for what is no message at all."""
        if self.legacy:
            message: AnyMessage = Message.new_with_blockhash(
                self.instructions, self.payer, self.blockhash
            )
        else:
            tables = [AddressLookupTableAccount(self.pool[0], list(self.pool))]
            message = MessageV0.try_compile(
                self.payer, self.instructions, tables if self.looked_up else [], self.blockhash
            )
        for change in self.after:
            message = change(message)
        return message


def guard(draft: Draft, a: int, b: int, c: int) -> None:
    """Add a guard's instruction; a tenth of them as wallets do, the others with any accounts."""
    pool, accounts = draft.pool, []
    for bit in range(c % 4):
        rights = (c >> (8 + 2 * bit)) % 4
        chosen = pool[(c >> (12 + 5 * bit)) % len(pool)]
        accounts.append(AccountMeta(chosen, rights == 3, rights in (2, 3)))
    program = draft.guards[b % len(draft.guards)]
    at = a % (len(draft.instructions) + 1)
    draft.instructions.insert(at, Instruction(program, bytes([b % 16]), accounts))


def wallet_guard(draft: Draft, a: int, b: int, c: int) -> None:
    """Add an assertion about the wallet or its tokens, the first of the pool."""
    accounts = [AccountMeta(draft.pool[b % 2], is_signer=False, is_writable=False)]
    at = a % (len(draft.instructions) + 1)
    draft.instructions.insert(at, Instruction(draft.guards[c % 2], bytes([6, b % 16]), accounts))


def hostile(draft: Draft, a: int, b: int, c: int) -> None:
    """Let a guard run the attacker's script, the last of the pool, with any accounts."""
    pool, rights = draft.pool, [(False, False), (False, True), (True, False), (True, True)]
    given = [
        AccountMeta(pool[(c >> 8 * at) % len(pool)], *rights[(c >> (8 * at + 5)) % 4 * (b % 2)])
        for at in range(3)
    ]
    used = [AccountMeta(each, is_signer=False, is_writable=False) for each in pool[-2:]]
    at = a % (len(draft.instructions) + 1)
    draft.instructions.insert(at, Instruction(draft.guards[1], b"", [*given, *used]))


def rob(draft: Draft, a: int, b: int, c: int) -> None:
    """Let a guard run the attacker's script with the operator, and with who is to get its money."""
    _, _, operator, *_, stranger, _, _, _ = draft.pool
    given = [AccountMeta(each, False, True) for each in (operator, stranger)]
    if a % 2:
        given.reverse()
    used = [AccountMeta(each, is_signer=False, is_writable=False) for each in draft.pool[-3:]]
    at = b % (len(draft.instructions) + 1)
    draft.instructions.insert(at, Instruction(draft.guards[1], b"", [*given, *used]))


def insert(draft: Draft, a: int, b: int, c: int) -> None:
    at = a % (len(draft.instructions) + 1)
    draft.instructions.insert(at, draft.others[b % len(draft.others)])


def pay(draft: Draft, a: int, b: int, c: int) -> None:
    pool = draft.pool
    sender, receiver = pool[a % len(pool)], pool[b % len(pool)]
    paid = TransferParams(from_pubkey=sender, to_pubkey=receiver, lamports=c)
    draft.instructions.append(transfer(paid))


def drop(draft: Draft, a: int, b: int, c: int) -> None:
    if draft.instructions:
        del draft.instructions[a % len(draft.instructions)]


def repeat(draft: Draft, a: int, b: int, c: int) -> None:
    if draft.instructions:
        draft.instructions.insert(
            b % (len(draft.instructions) + 1), draft.instructions[a % len(draft.instructions)]
        )


def swap(draft: Draft, a: int, b: int, c: int) -> None:
    all_ = draft.instructions
    if all_:
        a, b = a % len(all_), b % len(all_)
        all_[a], all_[b] = all_[b], all_[a]


def data(draft: Draft, a: int, b: int, c: int) -> None:
    def change(old: Instruction) -> Instruction:
        raw = bytearray(old.data)
        if c % 3 == 0 or not raw:
            raw.append(c % 256)
        elif c % 3 == 1:
            raw[b % len(raw)] ^= 1 + c % 255
        else:
            del raw[-1]
        return Instruction(old.program_id, bytes(raw), old.accounts)

    _change(draft, a, change)


def account(draft: Draft, a: int, b: int, c: int) -> None:
    """Replace, add or remove an account of an instruction."""

    def change(old: Instruction) -> Instruction:
        metas = list(old.accounts)
        chosen = draft.pool[(c >> 4) % len(draft.pool)]
        new = AccountMeta(chosen, bool(c & 4), bool(c & 8))
        if c % 3 == 0 or not metas:
            metas.append(new)
        elif c % 3 == 1:
            metas[b % len(metas)] = new
        else:
            del metas[b % len(metas)]
        return Instruction(old.program_id, bytes(old.data), metas)

    _change(draft, a, change)


def privilege(draft: Draft, a: int, b: int, c: int) -> None:
    def change(old: Instruction) -> Instruction:
        metas = list(old.accounts)
        if metas:
            key = metas[b % len(metas)].pubkey
            metas[b % len(metas)] = AccountMeta(key, bool(c & 1), bool(c & 2))
        return Instruction(old.program_id, bytes(old.data), metas)

    _change(draft, a, change)


def program(draft: Draft, a: int, b: int, c: int) -> None:
    chosen = [*draft.guards, *draft.pool][b % (len(draft.guards) + len(draft.pool))]
    _change(draft, a, lambda old: Instruction(chosen, bytes(old.data), old.accounts))


def budget(draft: Draft, a: int, b: int, c: int) -> None:
    """Replace or add a compute budget instruction; most are within the caps."""
    values = [
        set_compute_unit_limit(200_000 + c % 1_200_000),
        set_compute_unit_price(c % 60_000),
        set_compute_unit_price(c),
        set_compute_unit_limit(c),
        Instruction(COMPUTE_BUDGET, bytes([b % 6]) + c.to_bytes(4 + b % 5, "little"), []),
    ]
    new = values[b % len(values)]
    if a % 8:
        kept = draft.instructions
        draft.instructions = [
            each
            for each in kept
            if each.program_id != COMPUTE_BUDGET or bytes(each.data)[:1] != bytes(new.data)[:1]
        ]
    draft.instructions.insert(a % 3 % (len(draft.instructions) + 1), new)


def payer(draft: Draft, a: int, b: int, c: int) -> None:
    draft.payer = draft.pool[a % len(draft.pool)]


def blockhash(draft: Draft, a: int, b: int, c: int) -> None:
    draft.blockhash = draft.blockhashes[a % len(draft.blockhashes)]


def legacy(draft: Draft, a: int, b: int, c: int) -> None:
    draft.legacy = True


def lookup(draft: Draft, a: int, b: int, c: int) -> None:
    draft.looked_up = True


def reorder(draft: Draft, a: int, b: int, c: int) -> None:
    wallet = draft.pool[0]
    draft.after.append(
        lambda message: (
            message if isinstance(message, Message) else reordered(message, wallet, wallet, seed=c)
        )
    )


def header(draft: Draft, a: int, b: int, c: int) -> None:
    """Change the counts of signers and of read-only accounts by one."""

    def change(message: AnyMessage) -> AnyMessage:
        counts = [
            message.header.num_required_signatures,
            message.header.num_readonly_signed_accounts,
            message.header.num_readonly_unsigned_accounts,
        ]
        counts[a % 3] = max(0, counts[a % 3] + (1 if b % 2 else -1))
        return _with(message, MessageHeader(*counts), message.account_keys)

    draft.after.append(change)


def key(draft: Draft, a: int, b: int, c: int) -> None:
    """Replace or add a key of the message itself; it may be there twice then."""

    def change(message: AnyMessage) -> AnyMessage:
        keys = list(message.account_keys)
        chosen = draft.pool[b % len(draft.pool)]
        if c % 2:
            keys.append(chosen)
        else:
            keys[a % len(keys)] = chosen
        return _with(message, message.header, keys)

    draft.after.append(change)


def _with(message: AnyMessage, header: MessageHeader, keys: list[Pubkey]) -> AnyMessage:
    instructions: list[CompiledInstruction] = list(message.instructions)
    if isinstance(message, Message):
        return Message.new_with_compiled_instructions(
            header.num_required_signatures,
            header.num_readonly_signed_accounts,
            header.num_readonly_unsigned_accounts,
            keys,
            message.recent_blockhash,
            instructions,
        )
    return MessageV0(
        header, keys, message.recent_blockhash, instructions, message.address_table_lookups
    )


def _change(draft: Draft, at: int, change: Callable[[Instruction], Instruction]) -> None:
    if draft.instructions:
        at %= len(draft.instructions)
        draft.instructions[at] = change(draft.instructions[at])


APPLY: dict[str, Callable[[Draft, int, int, int], None]] = {
    each.__name__: each
    for each in (
        guard, wallet_guard, hostile, rob, insert, pay, drop, repeat, swap, data, account,
        privilege, program, budget, payer, blockhash, legacy, lookup, reorder, header, key,
    )
}  # fmt: skip
BENIGN = ("wallet_guard", "budget", "legacy", "reorder", "blockhash")
"""What wallets do, mostly."""
ROBBERY = ("rob", "legacy", "reorder")
"""What only the rules about guards keep from succeeding."""

_small = st.integers(0, 255)
# Integers of so wide a range are mostly small ones, whose upper bits choose nothing.
_wide = st.binary(min_size=4, max_size=4).map(int.from_bytes)


def _mutations_of(names: Sequence[str]) -> st.SearchStrategy[list[Mutation]]:
    one = st.tuples(st.sampled_from(names), _small, _small, _wide)
    return st.lists(one, min_size=1, max_size=4)


MUTATIONS = st.one_of(_mutations_of(list(APPLY)), _mutations_of(BENIGN), _mutations_of(ROBBERY))


def mutated(draft: Draft, mutations: Sequence[Mutation]) -> AnyMessage:
    """Raises ValueError for what is no message at all."""
    for name, a, b, c in mutations:
        APPLY[name](draft, a, b, c)
    return draft.compiled()
