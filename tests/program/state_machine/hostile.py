"""A machine of attacks: programs that use the signatures they are given in any way.

There is no specification of an attack. What may never happen is checked on the chain after each.
"""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import pools, positions
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    TOKEN,
    Ledger,
    authority_address,
    mint_data,
    token_address,
    token_data,
    transfer_collateral,
    vault_address,
    withdraw,
)
from tests.program.harness.puppet import PUPPET, Command, Fail, puppet_call
from tests.program.harness.venues import YEAR, lend_to_another, open_venue
from tests.program.yields import hostile

from .counts import Counts

EACH, LENT, POCKETED = 1_000, 400, 500
NAMES = ("yield_deposit", "yield_withdraw", "compound_yield")
AMOUNTS = st.sampled_from([20, 20, 20, 1, 0, 19, 21, 40, 400, 1_000])
DRAWN = st.data()
OTHER_MINT = Keypair.from_seed(bytes([7] * 32)).pubkey()


class HostilePrograms(RuleBasedStateMachine):
    """Two owners with tokens in an honest pool, and a listed yield program that is hostile.

    It is the active one of the first owner's vault, as if that had lent to both before. The vault
    has receipts of somebody else, too. `reached` counts the outcomes of each kind of attack.
    """

    reached: ClassVar[Counter[tuple[str, str]]]
    counts: ClassVar[Counts]

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.governance = self.ledger.wallet()
        self.ledger.initialize_authority(self.governance)
        positions.with_position_manager(self.ledger)
        self.venue = open_venue(self.ledger, self.governance)
        hostile.whitelist_hostile_program(self.ledger, self.governance)
        self.owner, self.other = self.saver(), self.saver()
        self.empty, self.thief = self.ledger.owner(), self.ledger.wallet()
        self.ledger.put_tokens(hostile.HANDS, POCKETED)
        self.ledger.put(OTHER_MINT, TOKEN, mint_data(supply=10 * EACH))
        self.receipts = self.ledger.put_tokens(self.vault, EACH, mint=OTHER_MINT)
        self.ledger.put_tokens(hostile.HANDS, 0, mint=OTHER_MINT)
        lend_to_another(self.ledger, self.owner.pubkey(), PUPPET)
        self.ledger.later(YEAR)
        self.lent = 0  # to the hostile program, or gone with it
        self.kept = self.untouched()

    def saver(self) -> Keypair:
        owner = positions.trader(self.ledger, deposited=EACH)
        self.venue.enter(owner)
        self.ledger.must(self.venue.move("yield_deposit", owner.pubkey(), LENT), owner)
        return owner

    @rule(data=DRAWN, first=st.sampled_from(NAMES))
    def turn_hostile(self, data: st.DataObject, first: str) -> None:
        for name in (first, *data.draw(st.permutations(NAMES))):
            self.misuse(data, name, data.draw(AMOUNTS))

    def misuse(self, data: st.DataObject, name: str, amount: int) -> None:
        """Use the vault's signature, besides moving the tokens that were agreed or instead."""
        agreed: dict[str, Sequence[Command]] = {
            "yield_deposit": [hostile.take(self.owner, amount)],
            "yield_withdraw": [hostile.pay(self.owner, amount)],
            "compound_yield": hostile.honest_compound(self.owner, amount),
        }
        receipts = self.ledger.tokens_at(self.receipts)
        drawn = data.draw(st.lists(st.sampled_from(self.crimes(amount)), max_size=3))
        commands = data.draw(st.permutations([*agreed[name], *drawn]))
        given = hostile.order(self.ledger, name, self.owner, *commands, amount=amount)
        if self.send(name, given, self.owner):
            self.lent += {"yield_deposit": amount, "yield_withdraw": -amount}.get(name, 0)
            may_burn = name == "yield_withdraw"
            assert may_burn or self.ledger.tokens_at(self.receipts) == receipts

    def crimes(self, amount: int) -> list[Command]:
        owner, vault = self.owner, vault_address(self.owner.pubkey())
        tokens, others = token_address(vault), vault_address(self.other.pubkey())
        return [
            hostile.take(owner, amount),
            hostile.pay(owner, amount),
            hostile.transfer(token_address(others), hostile.POCKET, others, amount),
            hostile.approve(owner, amount),
            hostile.set_authority(owner, 2),
            hostile.set_authority(owner, 3),
            hostile.close(owner),
            hostile.recreate(owner),
            hostile.burn(self.receipts, OTHER_MINT, vault, max(amount, 1)),
            hostile.transfer(self.receipts, token_address(hostile.HANDS, OTHER_MINT), vault, 1),
            self.of_the_pool("withdraw", amount, tokens),
            self.of_the_pool("claim", amount, tokens),
            self.of_the_pool("deposit", amount, tokens),
            withdraw(owner.pubkey(), amount, authority=vault),
            build("yield_withdraw", owner.pubkey(), authority=vault, amount=amount,
                  accounts={"yield_program": pools.YIELD_POOL}),
            Fail(9_999),
        ]  # fmt: skip

    def of_the_pool(self, name: str, amount: int, tokens: Pubkey) -> Instruction:
        vault = vault_address(self.owner.pubkey())
        return pools.stake(name, vault, self.venue.pool, amount, owner_tokens=tokens)

    @rule(name=st.sampled_from(["yield_deposit", "compound_yield"]), amount=AMOUNTS)
    def borrow(self, name: str, amount: int) -> None:
        """Ask for what a vault may only lend to the pool that holds some of it."""
        agreed: Sequence[Command] = hostile.honest_compound(self.other, amount)
        if name == "yield_deposit":
            agreed = [hostile.take(self.other, amount)]
        given = hostile.order(self.ledger, name, self.other, *agreed, amount=amount)
        assert not self.send("borrow", given, self.other)

    @rule(data=DRAWN, amount=AMOUNTS)
    def wrap(self, data: st.DataObject, amount: int) -> None:
        """Call programs on behalf of a thief, whose signature no vault accepts."""
        key, thief = self.owner.pubkey(), self.thief.pubkey()
        pocket = {"user_token_account": token_address(thief)}
        orders = [
            build("withdraw", key, authority=thief, amount=amount, accounts=pocket),
            build("emergency_withdraw", key, authority=thief, amount=amount, accounts=pocket),
            build("lock_collateral", key, amount=amount),
            build("unlock_collateral", key, amount=amount),
            transfer_collateral(key, self.other.pubkey(), amount),
            positions.open_position(key, amount, authority=thief),
            positions.close_position(key, amount, authority=thief),
            positions.rebalance_collateral(thief, key, self.other.pubkey(), amount),
            build("propose_governance", thief, proposed=thief),
            build("accept_governance", thief),
        ]
        commands = data.draw(st.lists(st.sampled_from(orders), min_size=1, max_size=2))
        given = puppet_call(self.ledger, *commands)
        assert not self.send("wrap", given, self.thief)

    @rule(at=st.sampled_from([None, None, 72, 129]), amount=st.sampled_from([0, 5]))
    def change_the_mint(self, at: int | None, amount: int) -> None:
        """Adopt a token account that waits at the vault's address, perhaps with a delegate."""
        vault = vault_address(self.empty.pubkey())
        address = token_address(vault, OTHER_MINT)
        if at is not None:
            data = bytearray(token_data(vault, amount, OTHER_MINT))
            data[at : at + 36] = b"\1\0\0\0" + bytes(self.thief.pubkey())
            self.ledger.put(address, TOKEN, bytes(data))
        accounts = {"new_mint": OTHER_MINT, "vault_token_account": address}
        key, authority = self.empty.pubkey(), self.governance.pubkey()
        given = build("update_usdt_mint", key, authority=authority, accounts=accounts)
        if self.send("change_the_mint", given, self.governance):
            assert at is None
        self.ledger.put(address, TOKEN, token_data(vault, amount, OTHER_MINT))

    def send(self, attack: str, given: Instruction, *signers: Keypair) -> bool:
        keys = {each.pubkey() for each in signers}
        metas = [
            AccountMeta(meta.pubkey, meta.pubkey in keys, meta.is_writable)
            for meta in given.accounts
        ]  # only programs can sign for the others
        given = Instruction(given.program_id, bytes(given.data), metas)
        outcome = self.ledger.send(given, *signers)
        self.counts.add(outcome)
        note(f"{attack} -> {outcome.error or 'success'}: {outcome.logs[-3:]}")
        self.reached[attack, "success" if outcome.error is None else "refused"] += 1
        return outcome.error is None

    @invariant()
    def nothing_else_is_touched(self) -> None:
        assert self.untouched() == self.kept

    def untouched(self) -> Sequence[bytes | int]:
        """Return what no attack on the owner's vault may change."""
        other = vault_address(self.other.pubkey())
        places = [authority_address(), other, token_address(other)]
        places += [self.venue.position(each) for each in (other, self.vault)]
        read = [self.ledger.data(place) for place in places]
        return [*read, self.ledger.tokens(self.thief.pubkey())]

    @property
    def vault(self) -> Pubkey:
        return vault_address(self.owner.pubkey())

    @invariant()
    def the_books_are_right(self) -> None:
        state = self.ledger.vault(self.owner.pubkey())
        beside = state["total_balance"] - state["yield_deposited_balance"]
        assert beside == state["available_balance"] + state["locked_balance"]
        assert self.ledger.tokens(self.vault) >= beside

    @invariant()
    def the_program_has_no_more_than_was_lent_to_it(self) -> None:
        assert self.ledger.tokens_at(hostile.POCKET) <= POCKETED + self.lent
        assert self.ledger.tokens_at(token_address(hostile.HANDS, OTHER_MINT)) == 0

    @invariant()
    def the_token_accounts_are_the_vaults_alone(self) -> None:
        for owner in (self.owner, self.other, self.empty):
            state = self.ledger.vault(owner.pubkey())
            data = self.ledger.data(state["token_account"])
            assert data[32:64] == bytes(vault_address(owner.pubkey()))
            assert not any(data[72:108]), "a delegate"
            assert not any(data[129:133]), "a close authority"
