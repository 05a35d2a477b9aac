"""cvms.chain against a real virtual machine: deposits, withdrawals, errors, subscriptions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.accounts import VAULT_DISCRIMINATOR, read_token_account, read_vault
from cvms.chain.program.addresses import token_account, vault_address, vault_authority_address
from cvms.chain.program.events.events import DepositEvent, WithdrawEvent
from cvms.chain.program.events.log_parser import parse_events
from cvms.chain.program.events.touched_vaults import touched_vaults
from cvms.chain.pubsub.log_subscription import LogNotice, LogsSubscribed, watch_logs
from cvms.chain.rpc.responses import TransactionRecord
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.rpc.transport.endpoint_pool import FAILURES_BEFORE_DOWN
from cvms.chain.transactions.compute_budget import simulate_and_limit
from cvms.chain.transactions.priority_fees import PriorityFees
from cvms.chain.transactions.vault_builders import (
    prepare_deposit,
    prepare_initialize,
    prepare_on_vault,
    prepare_withdraw,
)
from cvms.chain.transactions.vault_listing import (
    MOST_LISTED,
    ListedVault,
    list_vaults,
    owner_prefixes,
)
from cvms.chain.transactions.versioned import (
    BuiltTransaction,
    build_transaction,
    missing_signers,
    sign_as,
)
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import Conflict, ProgramRefused, RpcError, VaultNotFound
from cvms.metrics import Metrics
from tests.harness.localnet import Localnet

SOL = 1_000_000_000
USDT = 1_000_000


async def limit(rpc: RpcClient, programs: Programs, built: BuiltTransaction) -> BuiltTransaction:
    return await simulate_and_limit(rpc, programs, built, fees=PriorityFees(rpc, Metrics()))


class Wallet:
    """An owner with SOL and USDT, whose transactions the operator pays for."""

    def __init__(self, localnet: Localnet, rpc: RpcClient, keypair: Keypair) -> None:
        self.localnet, self.rpc, self.keypair = localnet, rpc, keypair
        self.owner = keypair.pubkey()

    async def send(self, built: BuiltTransaction, *signers: Keypair) -> str:
        """Simulate, sign, send, and wait until it is confirmed."""
        limited = await limit(self.rpc, self.localnet.programs, built)
        signed = sign_as(limited.message, self.localnet.operator, *signers)
        assert missing_signers(signed) == ()
        signature = await self.rpc.send_transaction(bytes(signed))
        await confirmed(self.localnet, self.rpc, signature)
        return signature

    async def initialize(self) -> str:
        operator = self.localnet.operator.pubkey()
        built = await prepare_initialize(
            self.rpc, self.localnet.programs, user=self.owner, fee_payer=operator
        )
        return await self.send(built, self.keypair)

    async def deposit(self, amount: int) -> str:
        built = await prepare_deposit(
            self.rpc,
            self.localnet.programs,
            owner=self.owner,
            amount=amount,
            authority=self.owner,
            fee_payer=self.localnet.operator.pubkey(),
        )
        return await self.send(built, self.keypair)

    async def withdraw(self, amount: int, recipient: Pubkey | None = None) -> BuiltTransaction:
        return await prepare_withdraw(
            self.rpc,
            self.localnet.programs,
            owner=self.owner,
            recipient=recipient or self.owner,
            amount=amount,
            authority=self.owner,
            fee_payer=self.localnet.operator.pubkey(),
        )


async def confirmed(localnet: Localnet, rpc: RpcClient, signature: str) -> None:
    """Advance the chain until its block is confirmed."""
    localnet.running.chain.advance(2)
    [status] = await rpc.get_signature_statuses([signature])
    assert status is not None
    assert status.commitment in (Commitment.CONFIRMED, Commitment.FINALIZED)
    assert status.err is None


async def funded(localnet: Localnet, rpc: RpcClient, amount: int) -> Wallet:
    keypair = Keypair()
    wallet = str(keypair.pubkey())
    signature = await rpc.call("requestAirdrop", [wallet, 2 * SOL])
    mint = str(localnet.programs.mint)
    await rpc.call("surfnet_setTokenAccount", [wallet, mint, {"amount": amount}])
    await confirmed(localnet, rpc, signature)
    return Wallet(localnet, rpc, keypair)


@pytest.fixture
async def rpc(localnet: Localnet) -> AsyncIterator[RpcClient]:
    async with open_rpc([localnet.rpc_url]) as opened:
        yield opened


async def record_of(rpc: RpcClient, signature: str) -> TransactionRecord:
    [record] = await rpc.get_transactions([signature], commitment=Commitment.CONFIRMED)
    assert record is not None
    return record


async def test_a_deposit_and_a_withdrawal_from_first_byte_to_last_unit(
    localnet: Localnet, rpc: RpcClient
) -> None:
    wallet = await funded(localnet, rpc, 1_000 * USDT)
    await wallet.initialize()
    deposited = await wallet.deposit(1_000 * USDT)
    withdrawn = await wallet.send(await wallet.withdraw(400 * USDT), wallet.keypair)

    programs = localnet.programs
    vault = vault_address(programs, wallet.owner)
    addresses = [vault, token_account(vault, programs.mint)]
    addresses += [token_account(wallet.owner, programs.mint), Pubkey.new_unique()]
    at = await rpc.get_accounts(addresses, commitment=Commitment.CONFIRMED)
    state = read_vault(at.accounts[0], programs)
    assert state is not None
    assert (state.owner, state.total_balance, state.available_balance) == (
        wallet.owner,
        600 * USDT,
        600 * USDT,
    )
    assert (state.total_deposited, state.total_withdrawn) == (1_000 * USDT, 400 * USDT)
    balances = [read_token_account(account) for account in at.accounts[1:3]]
    assert [each and each.amount for each in balances] == [600 * USDT, 400 * USDT]
    assert at.accounts[3] is None

    for signature, kind, amount, left in (
        (deposited, DepositEvent, 1_000 * USDT, 1_000 * USDT),
        (withdrawn, WithdrawEvent, 400 * USDT, 600 * USDT),
    ):
        record = await record_of(rpc, signature)
        assert record.slot <= at.slot
        logged = parse_events(
            record.logs or [], programs.vault, top_level_programs=record.top_level_programs
        )
        assert not logged.truncated
        assert kind(vault, wallet.owner, amount, left, left) in [e.event for e in logged.events]
        assert touched_vaults(record, programs) == {vault}


async def test_the_recipients_token_account_is_created_on_the_way(
    localnet: Localnet, rpc: RpcClient
) -> None:
    wallet = await funded(localnet, rpc, 5 * USDT)
    await wallet.initialize()
    await wallet.deposit(5 * USDT)
    closing = await wallet.withdraw(2 * USDT)
    assert closing.setup == ()
    stranger = Keypair().pubkey()
    created = await wallet.withdraw(2 * USDT, recipient=stranger)
    assert len(created.setup) == 1
    with pytest.raises(ProgramRefused) as caught:
        await limit(rpc, localnet.programs, created)
    assert caught.value.name == "Unauthorized"  # a recipient that nobody put on the whitelist


async def test_a_delegate_withdraws_alone_until_it_is_removed(
    localnet: Localnet, rpc: RpcClient
) -> None:
    wallet = await funded(localnet, rpc, 9 * USDT)
    await wallet.initialize()
    await wallet.deposit(9 * USDT)
    operator, programs = localnet.operator.pubkey(), localnet.programs

    async def by_the_operator() -> BuiltTransaction:
        return await prepare_withdraw(
            rpc,
            programs,
            owner=wallet.owner,
            recipient=wallet.owner,
            amount=1 * USDT,
            authority=operator,
            fee_payer=operator,
        )

    with pytest.raises(ProgramRefused) as caught:
        await wallet.send(await by_the_operator())
    assert caught.value.code == 6001

    for build in (instructions.add_delegate, instructions.remove_delegate):
        built = await prepare_on_vault(
            rpc,
            programs,
            owner=wallet.owner,
            instruction=build(programs, owner=wallet.owner, delegate=operator),
            fee_payer=operator,
        )
        await wallet.send(built, wallet.keypair)
        if build is instructions.add_delegate:
            assert (await by_the_operator()).signers == (operator,)
            await wallet.send(await by_the_operator())
    with pytest.raises(ProgramRefused):
        await wallet.send(await by_the_operator())


async def test_refusals_carry_the_programs_name_for_them(
    localnet: Localnet, rpc: RpcClient
) -> None:
    wallet = await funded(localnet, rpc, 3 * USDT)
    with pytest.raises(VaultNotFound):
        await wallet.deposit(1)
    with pytest.raises(VaultNotFound):
        await wallet.withdraw(1)
    await wallet.initialize()
    with pytest.raises(Conflict):
        await wallet.initialize()
    with pytest.raises(ProgramRefused) as overdraft:
        await wallet.send(await wallet.withdraw(1), wallet.keypair)
    assert (overdraft.value.code, overdraft.value.name) == (6002, "InsufficientFunds")
    with pytest.raises(ProgramRefused) as nothing:
        await wallet.deposit(0)
    assert nothing.value.name == "InvalidAmount"
    with pytest.raises(ProgramRefused) as beyond:
        await wallet.deposit(4 * USDT)
    assert beyond.value.code in (1, 6002)
    assert beyond.value.name == "InsufficientFunds"
    assert beyond.value.logs


async def test_a_simulated_transaction_is_limited_to_what_it_needs(
    localnet: Localnet, rpc: RpcClient
) -> None:
    wallet = await funded(localnet, rpc, USDT)
    operator = localnet.operator.pubkey()
    built = await prepare_initialize(rpc, localnet.programs, user=wallet.owner, fee_payer=operator)
    limited = await limit(rpc, localnet.programs, built)
    outcome = await rpc.simulate(limited.unsigned_wire)
    assert outcome.err is None
    assert outcome.units_consumed is not None
    assert outcome.units_consumed <= limited.compute_unit_limit
    assert limited.compute_unit_limit < outcome.units_consumed * 1.15 + 500
    assert limited.message.recent_blockhash == built.message.recent_blockhash


async def test_an_event_after_a_precompile_keeps_its_instructions_number(
    localnet: Localnet, rpc: RpcClient
) -> None:
    wallet = await funded(localnet, rpc, USDT)
    await wallet.initialize()
    signed = ed25519_check(wallet.keypair, b"a message that the precompile verifies")
    deposit = instructions.deposit(
        localnet.programs, authority=wallet.owner, owner=wallet.owner, amount=USDT
    )
    built = build_transaction(
        deposit,
        setup=[signed],
        fee_payer=localnet.operator.pubkey(),
        blockhash=await rpc.get_latest_blockhash(),
    )
    record = await record_of(rpc, await wallet.send(built, wallet.keypair))
    logged = parse_events(
        record.logs or [],
        localnet.programs.vault,
        top_level_programs=record.top_level_programs,
    )
    [index] = {event.instruction_index for event in logged.events}
    assert record.top_level_programs[index] == localnet.programs.vault
    assert record.top_level_programs[index - 1] == signed.program_id
    assert not logged.truncated


def ed25519_check(keypair: Keypair, message: bytes) -> Instruction:
    """Return an ed25519 precompile instruction with key, signature and message in its data."""
    key, signature = bytes(keypair.pubkey()), bytes(keypair.sign_message(message))
    start = 16
    places = (start + 32, 0xFFFF, start, 0xFFFF, start + 96, len(message), 0xFFFF)
    head = b"\1\0" + b"".join(place.to_bytes(2, "little") for place in places)
    program = Pubkey.from_string("Ed25519SigVerify111111111111111111111111111")
    return Instruction(program, head + key + signature + message, [])


async def test_the_log_subscription_sees_what_the_history_holds(
    localnet: Localnet, rpc: RpcClient, nursery: trio.Nursery
) -> None:
    send, receive = trio.open_memory_channel[LogsSubscribed | LogNotice](100)

    async def watch() -> None:
        await watch_logs(
            [localnet.ws_url],
            localnet.programs.vault,
            commitment=Commitment.CONFIRMED,
            notices=send,
        )

    nursery.start_soon(watch)
    with trio.fail_after(20):
        assert await receive.receive() == LogsSubscribed()
        wallet = await funded(localnet, rpc, 2 * USDT)
        signatures = [await wallet.initialize(), await wallet.deposit(2 * USDT)]
        notices = [await receive.receive() for _ in signatures]
    history = await rpc.get_signatures_for_address(
        localnet.programs.vault, commitment=Commitment.CONFIRMED, limit=2
    )
    assert [entry.signature for entry in history] == signatures[::-1]
    for notice, signature, entry in zip(notices, signatures, history[::-1], strict=True):
        assert isinstance(notice, LogNotice)
        record = await record_of(rpc, signature)
        assert (notice.signature, notice.slot, notice.err) == (signature, entry.slot, None)
        assert notice.logs == record.logs


async def test_endpoints_of_one_chain_agree_and_are_sent_to_and_asked_together(
    localnet: Localnet,
) -> None:
    localnet.running.chain.advance(100)
    metrics = Metrics()
    urls = [localnet.rpc_url, localnet.rpc_url, "http://127.0.0.1:1"]
    async with open_rpc(urls, metrics=metrics) as rpc:
        for _ in range(FAILURES_BEFORE_DOWN):
            await rpc.probe()
        assert [each.up for each in rpc.endpoints] == [True, True, False]
        for each in rpc.endpoints:
            counted = {"endpoint": each.host}
            value = metrics.registry.get_sample_value("cvms_rpc_disagreements_total", counted)
            assert value == 0
        wallet = await funded(localnet, rpc, USDT)
        operator = localnet.operator.pubkey()
        built = await prepare_initialize(
            rpc, localnet.programs, user=wallet.owner, fee_payer=operator
        )
        wire = bytes(sign_as(built.message, localnet.operator, wallet.keypair))
        signature = await rpc.send_everywhere(wire)
        await confirmed(localnet, rpc, signature)
        slot = await rpc.get_slot(Commitment.CONFIRMED)
        unknown = str(Keypair().sign_message(b""))
        found = await rpc.statuses_everywhere([signature, unknown], min_context_slot=slot)
        assert [status is not None for status in found.statuses] == [True, False]
        assert found.slot >= slot
        height = await rpc.get_block_height(Commitment.CONFIRMED, min_context_slot=slot)
        assert height > 0
        with pytest.raises(RpcError, match="-32016"):
            await rpc.get_block_height(Commitment.FINALIZED, min_context_slot=Slot(slot + 10**6))


async def test_the_nodes_answers_are_what_the_types_say(localnet: Localnet, rpc: RpcClient) -> None:
    wallet = await funded(localnet, rpc, USDT)
    signature = await wallet.initialize()
    programs = localnet.programs
    slot = await rpc.get_slot(Commitment.CONFIRMED)
    latest = await rpc.get_latest_blockhash()
    height = await rpc.get_block_height(Commitment.CONFIRMED)
    assert 0 < latest.last_valid_block_height - height <= 150
    assert await rpc.probe() >= slot
    assert await rpc.get_balance(wallet.owner) < 2 * SOL
    record = await record_of(rpc, signature)
    assert record.err is None
    assert record.fee >= 5000
    assert record.account_keys[0] == localnet.operator.pubkey()
    assert record.top_level_programs[-1] == programs.vault
    assert any(each.inner_index == 0 for each in record.instructions)
    vault = vault_address(programs, wallet.owner)
    _, found = await rpc.get_program_accounts(
        programs.vault, data_begins=VAULT_DISCRIMINATOR, commitment=Commitment.CONFIRMED
    )
    assert [address for address, _ in found] == [vault]
    assert read_vault(found[0][1], programs) is not None
    _, keys = await rpc.get_program_accounts(
        programs.vault,
        data_begins=VAULT_DISCRIMINATOR,
        commitment=Commitment.CONFIRMED,
        data_slice=(0, 0),
    )
    assert [(address, account.data) for address, account in keys] == [(vault, b"")]
    many = [vault_authority_address(programs), *(Pubkey.new_unique() for _ in range(149)), vault]
    at = await rpc.get_accounts(many, commitment=Commitment.CONFIRMED)
    assert [account is not None for account in at.accounts] == [True, *[False] * 149, True]
    assert at.slot == min(at.slots)
    unknown = str(Keypair().sign_message(b""))
    assert await rpc.get_transactions([unknown], commitment=Commitment.CONFIRMED) == [None]
    assert await rpc.get_signature_statuses([unknown] * 300) == [None] * 300
    assert all(fee >= 0 for fee in await rpc.get_recent_prioritization_fees([vault]))


async def test_a_list_too_long_for_one_response_is_read_in_parts(
    localnet: Localnet, rpc: RpcClient
) -> None:
    wallets = [await funded(localnet, rpc, USDT) for _ in range(3)]
    for wallet in wallets:
        await wallet.initialize()

    async def listed(expected: int) -> list[list[ListedVault]]:
        return [
            await list_vaults(
                rpc, localnet.programs, commitment=Commitment.CONFIRMED, owners_begin=each
            )
            for each in owner_prefixes(expected)
        ]

    [whole] = await listed(MOST_LISTED)
    assert {each.owner for each in whole} == {wallet.owner for wallet in wallets}
    parts = await listed(MOST_LISTED + 1)
    assert len(parts) == 256
    assert [bytes(each.owner)[0] for part in parts for each in part] == sorted(
        bytes(wallet.owner)[0] for wallet in wallets
    )
    assert {each for part in parts for each in part} == set(whole)
