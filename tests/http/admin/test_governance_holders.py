"""The service while a wallet or a program holds governance, and the hand-over between holders."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from cvms.chain.program import instructions
from cvms.chain.transactions.versioned import build_transaction
from cvms.chain.types import Commitment
from cvms.localnet.ledger.program_deployment import deploy
from tests.harness.guard_program import Scripts
from tests.harness.localnet import Localnet
from tests.harness.service import Service, running
from tests.http.admin.test_admin_routes import SECRET, ask, token
from tests.http.wallets import landed, rows
from tests.program.harness.puppet import ELF, PUPPET, own_address, puppet_call

SOL = 10**9


@pytest.fixture
async def office(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """Run the front end alone, on a real chain whose governance is the operator."""
    settings = {**localnet.settings, "admin_jwt_secret": SECRET}
    async with running(database_url, **settings) as service:
        yield service


async def send(office: Service, *given: Instruction, signers: list[Keypair]) -> None:
    """Send the instructions, paid by the first signer, and wait until they have landed."""
    blockhash = await office.rpc.get_latest_blockhash(Commitment.CONFIRMED)
    payer = signers[0].pubkey()
    built = build_transaction(given[-1], fee_payer=payer, blockhash=blockhash, setup=given[:-1])
    wire = bytes(VersionedTransaction(built.message, signers))
    await landed(office.rpc, await office.rpc.send_transaction(wire))


async def hand_over(office: Service, localnet: Localnet, heir: Keypair) -> None:
    """Give governance to a wallet, which gets some SOL first."""
    programs, operator = localnet.programs, localnet.operator
    pay = transfer(
        TransferParams(from_pubkey=operator.pubkey(), to_pubkey=heir.pubkey(), lamports=SOL)
    )
    propose = instructions.propose_governance(
        programs, authority=operator.pubkey(), proposed=heir.pubkey()
    )
    accept = instructions.accept_governance(programs, new_governance=heir.pubkey())
    await send(office, pay, propose, accept, signers=[operator, heir])


async def act(office: Service, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = await ask(office, "POST", path, body, token())
    assert reply.status_code in {200, 202}, reply.text
    content: dict[str, Any] = reply.json()
    return content


async def shown(office: Service) -> dict[str, Any]:
    reply = await ask(office, "GET", "/api/admin/governance", bearer=token())
    assert reply.status_code == 200, reply.text
    content: dict[str, Any] = reply.json()
    return content


async def test_governance_is_handed_to_a_wallet_which_then_signs(
    office: Service, localnet: Localnet
) -> None:
    heir = Keypair()
    proposed = await act(office, "/api/admin/governance/propose", {"proposed": str(heir.pubkey())})
    assert proposed["mode"] == "submitted"
    [row] = await rows(office, "SELECT wire FROM submissions")
    await landed(office.rpc, await office.rpc.send_transaction(row["wire"]))
    before = await shown(office)
    assert (before["held_by"], before["pending_governance"]) == ("service", str(heir.pubkey()))
    await hand_over(office, localnet, heir)
    after = await shown(office)
    assert (after["governance"], after["held_by"]) == (str(heir.pubkey()), "wallet")
    assert after["pending_governance"] is None

    reply = await act(office, "/api/admin/freeze/set", {"freeze": True})
    assert reply["mode"] == "cosign"
    assert not (await shown(office))["freeze"], "the service cannot decide any more"
    unsigned = VersionedTransaction.from_bytes(base64.b64decode(reply["transaction"]))
    assert unsigned.message.account_keys[0] == heir.pubkey()
    wire = base64.b64encode(bytes(VersionedTransaction(unsigned.message, [heir]))).decode()
    posted = await ask(office, "POST", "/api/transactions", {"transaction": wire})
    assert posted.status_code == 202, posted.text
    await landed(office.rpc, await office.rpc.send_transaction(base64.b64decode(wire)))
    assert (await shown(office))["freeze"]


async def test_accepting_is_for_whom_governance_was_proposed_to(
    office: Service, localnet: Localnet
) -> None:
    nobody = await ask(office, "POST", "/api/admin/governance/accept", {}, token())
    assert (nobody.status_code, nobody.json()["code"]) == (409, "conflict")
    heir = Keypair()
    await hand_over(office, localnet, heir)
    propose = instructions.propose_governance(
        localnet.programs, authority=heir.pubkey(), proposed=localnet.operator.pubkey()
    )
    await send(office, propose, signers=[heir])
    reply = await act(office, "/api/admin/governance/accept", {})
    assert reply["mode"] == "submitted", "it is proposed to the service"
    [row] = await rows(office, "SELECT wire FROM submissions")
    await landed(office.rpc, await office.rpc.send_transaction(row["wire"]))
    assert (await shown(office))["held_by"] == "service"


async def test_a_program_with_governance_gets_instructions_to_propose(
    office: Service, localnet: Localnet
) -> None:
    chain, programs = localnet.running.chain, localnet.programs
    deploy(chain, PUPPET, ELF.read_bytes())
    scripts, program = Scripts(localnet), own_address()
    propose = instructions.propose_governance(
        programs, authority=localnet.operator.pubkey(), proposed=program
    )
    accept = instructions.accept_governance(programs, new_governance=program)
    await send(office, propose, puppet_call(scripts, accept), signers=[localnet.operator])
    assert (await shown(office))["held_by"] == "program"

    for path, body, check in (
        ("/api/admin/freeze/set", {"freeze": True}, ("freeze", True)),
        ("/api/admin/risk-level/set", {"risk_level": 9}, ("risk_level", 9)),
    ):
        reply = await act(office, path, body)
        assert (reply["mode"], reply["governance"]) == ("proposal", str(program))
        proposed = [parsed(each) for each in reply["instructions"]]
        await send(office, puppet_call(scripts, *proposed), signers=[localnet.operator])
        name, value = check
        assert (await shown(office))[name] == value
    assert await rows(office, "SELECT 1 FROM submissions") == []
    trail = await rows(office, "SELECT action, details FROM audit_logs ORDER BY id")
    assert [row["action"] for row in trail if row["details"].get("mode") == "proposal"] == [
        "set_freeze_flag",
        "set_risk_level",
    ]


def parsed(given: dict[str, Any]) -> Instruction:
    metas = [
        AccountMeta(Pubkey.from_string(each["pubkey"]), each["is_signer"], each["is_writable"])
        for each in given["accounts"]
    ]
    data = base64.b64decode(given["data"])
    return Instruction(Pubkey.from_string(given["program_id"]), data, metas)


async def test_pauses_and_limits_are_shown(office: Service, localnet: Localnet) -> None:
    assert (await shown(office))["transfer_limits"] is None
    for path, body in (
        ("/api/admin/withdrawals/pause", {"seconds": 3600}),
        ("/api/admin/transfer-limits/set", {"vault_daily": 5, "total_daily": 7}),
        ("/api/admin/transfer-limits/set", {"vault_daily": 4, "total_daily": 9}),
    ):
        await act(office, path, body)
        [row] = await rows(office, "SELECT wire FROM submissions WHERE state = 'pending'")
        await landed(office.rpc, await office.rpc.send_transaction(row["wire"]))
        async with office.database.connection() as conn:
            await conn.execute("DELETE FROM submissions")
    governance = await shown(office)
    assert governance["withdrawals_paused_until"] is not None
    limits = governance["transfer_limits"]
    assert (limits["vault_daily"], limits["total_daily"]) == (4, 7)
    assert (limits["pending"]["vault_daily"], limits["pending"]["total_daily"]) == (4, 9)
    for seconds in (-1, 72 * 3600 + 1):
        reply = await ask(
            office, "POST", "/api/admin/withdrawals/pause", {"seconds": seconds}, token()
        )
        assert reply.status_code == 400
