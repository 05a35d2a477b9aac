"""Each builder, compared with the IDL: discriminator, accounts, flags, addresses, arguments."""

from __future__ import annotations

import inspect
from functools import partial
from hashlib import sha256
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solana.constants import SYSTEM_PROGRAM_ID
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address
from spl.token.constants import ASSOCIATED_TOKEN_PROGRAM_ID, TOKEN_PROGRAM_ID
from spl.token.instructions import create_idempotent_associated_token_account

from cvms.chain import borsh
from cvms.chain.program import instructions
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.program.guard_changes import GuardChange
from cvms.chain.types import Programs
from tests.chain import made_up
from tests.chain.made_up import PUBKEYS, unhurried
from tests.chain.program.idl_borsh import idl, instruction_of, read_arguments

IDLS = {name: idl(name) for name in ("collateral_vault", "position_manager")}
INSTRUCTIONS = [
    (program, entry["name"]) for program in IDLS for entry in IDLS[program]["instructions"]
]
OWNER, AUTHORITY, RECIPIENT, COSIGNER, YIELD = (Pubkey.new_unique() for _ in range(5))
SUMMARIES = [Pubkey.new_unique(), Pubkey.new_unique()]

ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "u8": st.integers(0, 2**8 - 1),
    "u32": st.integers(0, 2**32 - 1),
    "u64": st.integers(0, 2**64 - 1),
    "i64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "pubkey": PUBKEYS,
}


CHANGES = made_up.values_of(GuardChange)
NOT_IN_THE_IDL = {"position_summaries": st.just([]), "change": CHANGES}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for an argument type of the IDL."""
    if isinstance(kind, str):
        return ARGUMENTS[kind]
    if "option" in kind:
        return st.none() | values_of(kind["option"])
    if "defined" in kind:
        return CHANGES
    return st.lists(values_of(kind["vec"]), max_size=4)


def given_to(entry: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return the arguments of a builder: the IDL's by name, and keys for the others."""
    drawn = {each["name"]: values_of(each["type"]) for each in entry["args"]}
    for name, parameter in inspect.signature(
        getattr(instructions, entry["name"])
    ).parameters.items():
        if (
            name != "programs"
            and name not in drawn
            and parameter.default is inspect.Parameter.empty
        ):
            drawn[name] = NOT_IN_THE_IDL.get(name, PUBKEYS)
    return st.fixed_dictionaries(drawn)


def plain(value: Any) -> Any:
    """Return a value as the independent reader returns it."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, get_args(GuardChange)):
        return made_up.to_json(value)
    return str(value) if isinstance(value, Pubkey) else value


def places(name: str, taken: dict[str, Any], programs: Programs) -> dict[str, Pubkey]:
    """Return the expected accounts of an instruction, by the IDL's names."""
    expected = {slot: key for slot, key in taken.items() if isinstance(key, Pubkey)}
    expected |= {
        "vault_authority": derived(programs.vault, b"vault_authority"),
        "collateral_vault_program": programs.vault,
        "usdt_mint": programs.mint,
        "transfer_limits": derived(programs.vault, b"transfer_limits"),
    }
    expected.setdefault("caller_program", programs.position_manager)
    mint = taken.get("new_mint", programs.mint)
    owners = {"vault": "user" if "user" in taken else "owner"}
    owners |= {"from_vault": "from_owner", "to_vault": "to_owner"}
    for slot, owner in owners.items():
        if owner in taken:
            vault = derived(programs.vault, b"vault", bytes(taken[owner]))
            expected[slot] = vault
            expected[f"{slot}_token_account"] = get_associated_token_address(vault, mint)
            summary = derived(programs.position_manager, b"position_summary", bytes(vault))
            expected["position_summary"] = summary
    if "change" in taken:
        digest = sha256(borsh.encode_as(GuardChange, taken["change"])).digest()
        seeds = (b"guard_change", bytes(expected["vault"]), digest)
        expected["guard_change"] = derived(programs.vault, *seeds)
    if "recipient_token_account" in taken:
        expected["user_token_account"] = taken["recipient_token_account"]
    elif wallet := taken.get("authority" if name == "deposit" else "owner"):
        expected["user_token_account"] = get_associated_token_address(wallet, programs.mint)
    return expected


def derived(program: Pubkey, *seeds: bytes) -> Pubkey:
    return Pubkey.find_program_address(seeds, program)[0]


def test_there_is_a_builder_for_every_instruction() -> None:
    assert len(INSTRUCTIONS) == 51
    assert {name for _, name in INSTRUCTIONS} <= set(instructions.__all__)


def remaining(name: str, programs: Programs) -> list[AccountMeta]:
    """Return the accounts that the instruction needs and its IDL does not name."""
    if name != "initialize_vault_authority":
        return []
    loader = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
    return [AccountMeta(derived(loader, bytes(programs.vault)), False, False)]


@pytest.mark.parametrize(("program", "name"), INSTRUCTIONS)
@unhurried
@given(data=st.data())
def test_an_instruction_is_what_the_idl_says(program: str, name: str, data: st.DataObject) -> None:
    programs = Programs(vault=Pubkey.new_unique(), position_manager=YIELD, mint=OWNER)
    entry = instruction_of(IDLS[program], name)
    taken = data.draw(given_to(entry))
    built: Instruction = getattr(instructions, name)(programs, **taken)

    on = programs.vault if program == "collateral_vault" else programs.position_manager
    assert built.program_id == on
    assert built.data[:8] == bytes(entry["discriminator"])
    arguments = {each["name"]: plain(taken[each["name"]]) for each in entry["args"]}
    assert read_arguments(IDLS[program], name, built.data[8:]) == (arguments, b"")
    belongs = places(name, taken, programs)
    count = len(entry["accounts"])
    assert built.accounts[count:] == remaining(name, programs)
    for slot, meta in zip(entry["accounts"], built.accounts[:count], strict=True):
        expected = slot.get("address") or str(belongs[slot["name"]])
        assert str(meta.pubkey) == expected, slot["name"]
        assert meta.is_writable == slot.get("writable", False), slot["name"]
        assert meta.is_signer == slot.get("signer", False), slot["name"]


@pytest.mark.parametrize(("program", "name"), INSTRUCTIONS)
@unhurried
@given(data=st.data())
def test_the_seeds_of_the_idl_lead_to_the_same_accounts(
    program: str, name: str, data: st.DataObject
) -> None:
    """Clients that know only the IDL derive them; a mint is the one in the vault's account."""
    programs = Programs(vault=Pubkey.new_unique(), position_manager=YIELD, mint=OWNER)
    entry = instruction_of(IDLS[program], name)
    taken = data.draw(given_to(entry))
    built: Instruction = getattr(instructions, name)(programs, **taken)
    slots = [slot["name"] for slot in entry["accounts"]]
    keys = dict(zip(slots, (meta.pubkey for meta in built.accounts[: len(slots)]), strict=True))
    keys |= {f"{slot}.usdt_mint": programs.mint for slot in slots if slot.endswith("vault")}

    def value(seed: dict[str, Any]) -> bytes:
        return bytes(seed["value"]) if seed["kind"] == "const" else bytes(keys[seed["path"]])

    for slot in entry["accounts"]:
        if "pda" not in slot or (
            slot["name"] == "user_token_account" and "recipient_token_account" in taken
        ):
            continue
        seeds = [value(seed) for seed in slot["pda"]["seeds"]]
        owner = slot["pda"].get("program")
        of = Pubkey(value(owner)) if owner else built.program_id
        assert derived(of, *seeds) == keys[slot["name"]], slot["name"]
    assert all("pda" in slot for slot in entry["accounts"] if slot["name"] in derivable(slots))


def derivable(slots: list[str]) -> set[str]:
    """Return the accounts that follow from those of an instruction."""
    named = {"vault_authority", "position_summary", "vault_token_account", "user_token_account"}
    return named | ({"vault"} if {"user", "owner"} & set(slots) else set())


def test_a_withdrawal_lists_position_summaries_then_cosigners(programs: Programs) -> None:
    withdraw = instructions.withdraw(
        programs,
        authority=AUTHORITY,
        owner=OWNER,
        recipient_token_account=RECIPIENT,
        position_summaries=SUMMARIES,
        amount=1234,
        extra_signers=[COSIGNER],
    )
    assert withdraw.accounts[7:] == [
        *(AccountMeta(summary, is_signer=False, is_writable=False) for summary in SUMMARIES),
        AccountMeta(COSIGNER, is_signer=True, is_writable=False),
    ]


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("yield_deposit", "amount"),
        ("yield_withdraw", "amount"),
        ("compound_yield", "compounded_amount"),
    ],
)
def test_a_yield_programs_accounts_come_before_cosigners(
    programs: Programs, name: str, argument: str
) -> None:
    pool = AccountMeta(RECIPIENT, is_signer=False, is_writable=True)
    built: Instruction = getattr(instructions, name)(
        programs,
        authority=AUTHORITY,
        owner=OWNER,
        yield_program=YIELD,
        yield_accounts=[pool],
        extra_signers=[COSIGNER],
        **{argument: 1},
    )
    assert built.accounts[5:] == [pool, AccountMeta(COSIGNER, is_signer=True, is_writable=False)]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("schedule_timelock", {"authority": AUTHORITY, "amount": 1, "duration_seconds": 60}),
        ("cancel_timelock", {"amount": 1, "unlock_time": 60}),
        ("emergency_withdraw", {"authority": OWNER, "amount": 1}),
        ("set_vault_multisig", {"signers": [], "threshold": 0}),
        ("disable_vault_multisig", {}),
        ("set_withdraw_min_delay", {"seconds": 0}),
        ("set_withdraw_rate_limit", {"window_seconds": 0, "max_amount": 0}),
        ("add_withdraw_whitelist", {"address": RECIPIENT}),
        ("set_transfer_allowance", {"amount": 1}),
        ("request_exit", {}),
        ("sweep", {"token_account": YIELD, "recipient_token_account": RECIPIENT}),
    ],
)
def test_what_several_signers_agree_to_may_be_cosigned(
    programs: Programs, name: str, values: dict[str, Any]
) -> None:
    build = getattr(instructions, name)
    alone = build(programs, owner=OWNER, **values)
    cosigned = build(programs, owner=OWNER, extra_signers=[COSIGNER], **values)
    cosigner = AccountMeta(COSIGNER, is_signer=True, is_writable=False)
    assert cosigned.accounts == [*alone.accounts, cosigner]
    assert cosigned.data == alone.data


def test_a_rebalancing_names_its_limits_its_summary_and_the_managers_own_signature(
    programs: Programs,
) -> None:
    manager, vault = programs.position_manager, vault_address(programs, OWNER)
    build = partial(
        instructions.rebalance_collateral,
        programs,
        authority=AUTHORITY,
        from_owner=OWNER,
        to_owner=RECIPIENT,
        amount=1,
    )
    alone, full = build(), build(limited=True, settles=True, wrapped=True)
    assert full.accounts == [
        *alone.accounts,
        AccountMeta(derived(manager, b"caller", bytes(programs.vault)), False, False),
        AccountMeta(derived(programs.vault, b"transfer_limits"), False, True),
        AccountMeta(derived(manager, b"position_summary", bytes(vault)), False, True),
    ]


@pytest.mark.parametrize("name", ["open_position", "close_position"])
def test_a_wrapped_call_names_the_managers_own_signature(programs: Programs, name: str) -> None:
    build = getattr(instructions, name)
    alone = build(programs, authority=OWNER, owner=OWNER, amount=1)
    wrapped = build(programs, authority=OWNER, owner=OWNER, amount=1, wrapped=True)
    caller = derived(programs.position_manager, b"caller", bytes(programs.vault))
    assert wrapped.accounts == [*alone.accounts, AccountMeta(caller, False, False)]


def test_a_proposal_may_come_from_the_upgrade_authority(programs: Programs) -> None:
    given = {"authority": AUTHORITY, "proposed": RECIPIENT}
    alone = instructions.propose_governance(programs, **given)
    upgraded = instructions.propose_governance(programs, **given, program_data=YIELD)
    assert upgraded.accounts == [*alone.accounts, AccountMeta(YIELD, False, False)]


def test_a_closing_may_name_where_surplus_tokens_go(programs: Programs) -> None:
    alone = instructions.close_vault(programs, OWNER)
    swept = instructions.close_vault(
        programs, OWNER, surplus_account=RECIPIENT, extra_signers=[COSIGNER]
    )
    assert swept.accounts == [
        *alone.accounts,
        AccountMeta(RECIPIENT, False, True),
        AccountMeta(COSIGNER, True, False),
    ]


def test_a_release_of_unclaimed_tokens_lists_position_summaries(programs: Programs) -> None:
    built = instructions.release_unclaimed(programs, owner=OWNER, position_summaries=SUMMARIES)
    assert built.accounts[3:] == [AccountMeta(each, False, False) for each in SUMMARIES]


@pytest.mark.parametrize(
    ("freeze", "flag"), [(None, b"\0"), (False, b"\1\0"), (True, b"\1\1")], ids=str
)
def test_the_freeze_flag_is_an_option(programs: Programs, freeze: bool | None, flag: bytes) -> None:
    instruction = instructions.initialize_vault_authority(programs, governance=OWNER, freeze=freeze)
    assert instruction.data[8:] == b"\0\0\0\0" + flag


@pytest.mark.parametrize("amount", [-1, 2**64])
def test_an_amount_outside_64_bits_is_refused(programs: Programs, amount: int) -> None:
    with pytest.raises(ValueError, match="range"):
        instructions.deposit(programs, authority=OWNER, owner=OWNER, amount=amount)


@pytest.mark.parametrize(
    ("name", "given_too_much"),
    [
        ("set_vault_multisig", {"signers": [], "threshold": 256}),
        ("set_withdraw_rate_limit", {"window_seconds": 2**32, "max_amount": 1}),
        ("set_withdraw_rate_limit", {"window_seconds": 1, "max_amount": -1}),
        ("set_withdraw_min_delay", {"seconds": 2**63}),
    ],
)
def test_a_number_out_of_its_types_range_is_refused(
    programs: Programs, name: str, given_too_much: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"range|requires"):
        getattr(instructions, name)(programs, owner=OWNER, **given_too_much)


def test_a_token_account_is_the_associated_one_and_creating_it_twice_is_allowed(
    programs: Programs,
) -> None:
    address = token_account(OWNER, programs.mint)
    assert address == get_associated_token_address(OWNER, programs.mint)
    create = create_idempotent_associated_token_account(
        payer=AUTHORITY, owner=OWNER, mint=programs.mint
    )
    assert create.program_id == ASSOCIATED_TOKEN_PROGRAM_ID
    assert create.data == b"\1"
    assert [meta.pubkey for meta in create.accounts] == [
        AUTHORITY,
        address,
        OWNER,
        programs.mint,
        SYSTEM_PROGRAM_ID,
        TOKEN_PROGRAM_ID,
    ]
    assert [meta.is_signer for meta in create.accounts] == [True, *[False] * 5]
    assert [meta.is_writable for meta in create.accounts] == [True, True, *[False] * 4]
