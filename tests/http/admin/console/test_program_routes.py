"""The programs on the chain are shown beside what is expected of them."""

from __future__ import annotations

from cvms.checks.program_check import shipped_hashes
from cvms.dev.chain_setup import bundled_programs
from cvms.localnet.ledger import program_deployment
from tests.checks.test_deployment_checks import MULTISIG
from tests.harness.localnet import Localnet
from tests.harness.service import Service
from tests.http.admin.console.asking import refused, shown

PATH = "/api/admin/programs"


async def test_the_programs_and_their_authority_are_shown(
    console: Service, localnet: Localnet
) -> None:
    found = await shown(console, PATH)
    own = {each["name"]: each for each in found["programs"]}
    vault = own["collateral_vault"]
    assert vault["program_id"] == str(localnet.programs.vault)
    assert vault["deployed"] is True
    assert vault["code_hash"] == vault["expected_hash"] == shipped_hashes()["collateral_vault"]
    authority = found["authority"]
    assert authority["governance"] == str(console.operator.pubkey())
    assert (authority["frozen"], authority["proposed_governance"]) == (False, None)
    assert str(localnet.programs.position_manager) in authority["programs"]

    [program, *_] = bundled_programs(localnet.programs)
    program_deployment.deploy(
        localnet.running.chain, program.program_id, program.elf + b"\1", authority=MULTISIG
    )
    [changed, *_] = (await shown(console, PATH))["programs"]
    assert changed["code_hash"] != changed["expected_hash"]
    assert changed["upgrade_authority"] == str(MULTISIG)


async def test_without_a_node_nothing_is_shown(office: Service) -> None:
    assert await refused(office, PATH) == (503, "chain_unavailable")
