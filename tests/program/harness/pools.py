"""The yield pool program and its instructions by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.paths import PROGRAMS
from tests.program.harness.ledger import MINT, YIELD_IDL, Ledger, Outcome, token_address
from tests.program.harness.refusals import assert_refused

YIELD_POOL = Pubkey.from_string("7ubN3FoNzQsNFrdnHDn86ipow8F7Q2Jtx9zw4LTyDmtr")
ELF = PROGRAMS / "yield_pool.so"
POOL_LENGTH = 165
POSITION_LENGTH = 105
PER_TOKEN_UNIT = 10_000 * 365 * 24 * 60 * 60


def refused(outcome: Outcome, name: str) -> None:
    assert_refused(outcome, name, idl=YIELD_IDL)


def pool_address(admin: Pubkey, mint: Pubkey = MINT) -> Pubkey:
    return derived(b"pool", mint, admin)


def reserve_address(pool: Pubkey) -> Pubkey:
    return derived(b"reserve", pool)


def position_address(pool: Pubkey, owner: Pubkey) -> Pubkey:
    return derived(b"position", pool, owner)


def derived(seed: bytes, *keys: Pubkey) -> Pubkey:
    return Pubkey.find_program_address([seed, *map(bytes, keys)], YIELD_POOL)[0]


@dataclass(frozen=True, slots=True)
class Pools:
    """A chain with the program and one pool of the mint."""

    ledger: Ledger
    admin: Keypair

    @property
    def pool(self) -> Pubkey:
        return pool_address(self.admin.pubkey())

    def state(self, pool: Pubkey | None = None) -> dict[str, Any]:
        data = self.ledger.data(pool or self.pool)
        assert len(data) == POOL_LENGTH
        return YIELD_IDL.decode_account("Pool", data)

    def position(self, owner: Pubkey) -> dict[str, Any]:
        data = self.ledger.data(position_address(self.pool, owner))
        assert len(data) == POSITION_LENGTH
        return YIELD_IDL.decode_account("Position", data)

    def change_pool(self, **fields: Any) -> None:
        """Write fields to values that no instruction can produce."""
        state = self.state()
        assert fields.keys() <= state.keys()
        self.ledger.put(
            self.pool, YIELD_POOL, YIELD_IDL.encode_account("Pool", state | fields, POOL_LENGTH)
        )

    def change_position(self, owner: Pubkey, **fields: Any) -> None:
        state = self.position(owner)
        assert fields.keys() <= state.keys()
        data = YIELD_IDL.encode_account("Position", state | fields, POSITION_LENGTH)
        self.ledger.put(position_address(self.pool, owner), YIELD_POOL, data)

    def deposits(self) -> int:
        """Return the tokens that the pool holds for its depositors."""
        return self.ledger.tokens(self.pool)

    def reserve(self) -> int:
        return self.ledger.tokens_at(reserve_address(self.pool))

    def fund(self, amount: int) -> None:
        self.ledger.put_tokens(self.pool, amount, address=reserve_address(self.pool))

    def saver(self, *, usdt: int = 0, deposited: int = 0) -> Keypair:
        """Create a wallet with a position of `deposited`, and `usdt` outside the pool."""
        keypair = self.ledger.wallet(usdt=usdt + deposited)
        given = open_position(keypair.pubkey(), self.pool, payer=keypair.pubkey())
        self.ledger.must(given, keypair)
        if deposited:
            self.ledger.must(deposit(keypair.pubkey(), self.pool, deposited), keypair)
        return keypair


def with_yield_pool(ledger: Ledger, *, rate_bps: int = 500) -> Pools:
    """Deploy the program and open a pool."""
    ledger.svm.add_program(YIELD_POOL, ELF.read_bytes())
    admin = ledger.wallet()
    ledger.must(initialize_pool(admin.pubkey(), rate_bps), admin)
    return Pools(ledger, admin)


def instruction(
    name: str, arguments: dict[str, Any], accounts: Mapping[str, Pubkey]
) -> Instruction:
    metas = []
    for given in YIELD_IDL.instructions[name]["accounts"]:
        address = accounts.get(given["name"]) or Pubkey.from_string(given["address"])
        metas.append(AccountMeta(address, given.get("signer", False), given.get("writable", False)))
    return Instruction(YIELD_POOL, YIELD_IDL.instruction_data(name, arguments), metas)


def initialize_pool(
    admin: Pubkey, rate_bps: int, /, *, mint: Pubkey = MINT, **substitutes: Pubkey
) -> Instruction:
    pool = pool_address(admin, mint)
    accounts = {
        "admin": admin,
        "mint": mint,
        "pool": pool,
        "pool_tokens": token_address(pool, mint),
        "reserve_tokens": reserve_address(pool),
    }
    return instruction("initialize_pool", {"rate_bps": rate_bps}, accounts | substitutes)


def set_rate(admin: Pubkey, pool: Pubkey, rate_bps: int, /, **substitutes: Pubkey) -> Instruction:
    accounts = {"admin": admin, "pool": pool}
    return instruction("set_rate", {"rate_bps": rate_bps}, accounts | substitutes)


def fund_reserve(
    funder: Pubkey, pool: Pubkey, amount: int, /, **substitutes: Pubkey
) -> Instruction:
    accounts = {
        "pool": pool,
        "reserve_tokens": reserve_address(pool),
        "funder_tokens": token_address(funder),
        "funder": funder,
    }
    return instruction("fund_reserve", {"amount": amount}, accounts | substitutes)


def open_position(
    owner: Pubkey, pool: Pubkey, /, *, payer: Pubkey, **substitutes: Pubkey
) -> Instruction:
    position = position_address(pool, owner)
    accounts = {"payer": payer, "owner": owner, "pool": pool, "position": position}
    return instruction("open_position", {}, accounts | substitutes)


def stake(
    name: str, owner: Pubkey, pool: Pubkey, amount: int, /, **substitutes: Pubkey
) -> Instruction:
    accounts = {
        "pool": pool,
        "position": position_address(pool, owner),
        "pool_tokens": token_address(pool),
        "reserve_tokens": reserve_address(pool),
        "owner_tokens": token_address(owner),
        "owner": owner,
    }
    return instruction(name, {"amount": amount}, accounts | substitutes)


def deposit(owner: Pubkey, pool: Pubkey, amount: int, /, **substitutes: Pubkey) -> Instruction:
    return stake("deposit", owner, pool, amount, **substitutes)


def withdraw(owner: Pubkey, pool: Pubkey, amount: int, /, **substitutes: Pubkey) -> Instruction:
    return stake("withdraw", owner, pool, amount, **substitutes)


def claim(owner: Pubkey, pool: Pubkey, amount: int, /, **substitutes: Pubkey) -> Instruction:
    return stake("claim", owner, pool, amount, **substitutes)
