"""The whole deployment: shown first, done once, and continued after whatever stopped it."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from solana.constants import SYSTEM_PROGRAM_ID
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.token.state import Mint
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from cvms.bootstrap.cluster import MAINNET
from cvms.bootstrap.key_files import locked
from cvms.bootstrap.programs.program_steps import deployed_program
from cvms.bootstrap.run import AIRDROP_SPARE
from cvms.chain.program.accounts import read_transfer_limits
from cvms.chain.program.addresses import transfer_limits_address
from cvms.chain.program.bundled_programs import PROGRAM_NAMES, bundled_elf
from cvms.chain.program.cluster_features import FEATURE_PROGRAM, REQUIRED_FEATURES
from cvms.chain.program.upgradeable_loader import executable_hash
from cvms.chain.program.yield_pool_accounts import pool_address, read_pool
from cvms.errors import ConfigurationError, StepFailed
from tests.bootstrap.deployer import LIMITS, SOL, Deployer


def files_in(folder: Path) -> list[Path]:
    return [*folder.iterdir()]


def cost(text: str) -> int:
    """Return the lamports that the plan says it costs."""
    [shown] = re.findall(r"^Cost (\d+\.\d{9}) SOL", text, re.MULTILINE)
    return int(shown.replace(".", ""))


async def test_a_dry_run_shows_the_cost_and_changes_nothing(
    deployer: Deployer, tmp_path: Path
) -> None:
    before = deployer.running.chain.transaction_count
    await deployer.bootstrap(dry_run=True)
    assert cost(deployer.text) > 2 * SOL
    assert "make" in deployer.text
    assert deployer.questions == []
    assert files_in(tmp_path) == []
    assert deployer.running.chain.transaction_count == before


async def test_nothing_is_done_without_consent(deployer: Deployer, tmp_path: Path) -> None:
    deployer.agrees = False
    with pytest.raises(StepFailed, match="nothing was done"):
        await deployer.bootstrap()
    assert files_in(tmp_path) == []


async def test_from_nothing_to_a_deployment_at_the_cost_that_was_shown(deployer: Deployer) -> None:
    await deployer.bootstrap(yield_pool_rate=500)
    programs, operator = deployer.programs, deployer.key("operator").pubkey()
    spare = AIRDROP_SPARE + await deployer.cluster.rent(0)
    assert await deployer.balance() == pytest.approx(spare, abs=30_000)
    for name, address in zip(
        PROGRAM_NAMES, (programs.vault, programs.position_manager, programs.yield_pool), strict=True
    ):
        found = await deployed_program(deployer.cluster, address)
        assert found is not None
        assert executable_hash(found.code) == executable_hash(bundled_elf(name))
        assert found.authority == deployer.key("upgrade_authority").pubkey()
        assert len(found.code) > len(bundled_elf(name)), "there is room for longer versions"
    authority = await deployer.authority()
    assert authority is not None
    assert authority.governance == operator
    assert authority.authorized_programs == (programs.position_manager,)
    assert authority.yield_whitelist == (programs.yield_pool,)
    account = await deployer.cluster.account(transfer_limits_address(programs))
    limits = read_transfer_limits(account, programs)
    assert limits is not None
    assert (limits.vault_daily, limits.total_daily) == (LIMITS.vault, LIMITS.total)
    pool = pool_address(programs, mint=programs.mint, admin=operator)
    assert read_pool(await deployer.cluster.account(pool), programs) is not None
    assert await deployer.buffers() == []


async def test_a_second_run_finds_nothing_to_do_and_spends_nothing(deployer: Deployer) -> None:
    await deployer.bootstrap()
    before, text = await deployer.balance(), deployer.env_file.read_text()
    sent = deployer.running.chain.transaction_count
    deployer.questions.clear()
    await deployer.bootstrap(make_mint=False, airdrop=False)
    assert deployer.said[-1].strip() == "Nothing to do."
    assert deployer.questions == []
    assert await deployer.balance() == before
    assert deployer.running.chain.transaction_count == sent
    assert deployer.env_file.read_text() == text


async def test_the_operators_key_alone_is_needed_once_all_is_deployed(
    deployer: Deployer, tmp_path: Path
) -> None:
    """The others are moved off the machine, and no new ones are made in their place."""
    await deployer.bootstrap()
    for path in files_in(tmp_path / "keys"):
        if path.stem != "operator":
            path.unlink()
    await deployer.bootstrap(make_mint=False, airdrop=False)
    assert deployer.said[-1].strip() == "Nothing to do."


async def test_files_are_their_owners_only(deployer: Deployer, tmp_path: Path) -> None:
    await deployer.bootstrap()
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    files = [deployer.env_file, *files_in(tmp_path / "keys")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {path.name for path in files_in(tmp_path)} == {".env", "keys"}


async def test_a_payer_without_sol_is_told_how_much_it_lacks(deployer: Deployer) -> None:
    """Its key is saved before, so that what is sent to it is not lost."""
    with pytest.raises(StepFailed, match=r"lacks \d\.\d{9} SOL") as refused:
        await deployer.bootstrap(airdrop=False)
    operator = deployer.key("operator").pubkey()
    assert str(operator) in str(refused.value)
    await deployer.bootstrap()
    assert deployer.key("operator").pubkey() == operator


@pytest.mark.parametrize("flag", ["make_mint", "airdrop"])
async def test_mainnet_gets_no_mint_and_no_airdrop(deployer: Deployer, flag: str) -> None:
    deployer.cluster = replace(deployer.cluster, genesis=MAINNET)
    makes = flag == "make_mint"
    with pytest.raises(ConfigurationError, match="mainnet-beta"):
        await deployer.bootstrap(make_mint=makes, airdrop=not makes)


async def test_mainnet_needs_a_named_governance(deployer: Deployer) -> None:
    mint = usdt(deployer)
    deployer.cluster = replace(deployer.cluster, genesis=MAINNET)
    with pytest.raises(ConfigurationError, match="--governance"):
        await deployer.bootstrap(make_mint=False, mint=mint, airdrop=False, dry_run=True)
    governance = Keypair().pubkey()
    await deployer.bootstrap(
        make_mint=False, mint=mint, airdrop=False, dry_run=True, governance=governance
    )
    assert f"propose {governance} as governance" in deployer.text


async def test_nothing_is_spent_on_another_cluster_than_the_one_shown(
    deployer: Deployer, tmp_path: Path
) -> None:
    """The endpoint's host leads elsewhere once somebody has agreed."""
    deployer.cluster = replace(deployer.cluster, genesis="of the cluster that was there before")
    with pytest.raises(StepFailed, match="another cluster now"):
        await deployer.bootstrap()
    assert files_in(tmp_path) == []


async def test_two_commands_do_not_use_one_folder_of_keys_at_once(
    deployer: Deployer, tmp_path: Path
) -> None:
    with locked(tmp_path / "keys"), pytest.raises(StepFailed, match="another command"):
        await deployer.bootstrap()
    assert files_in(tmp_path / "keys") == []
    await deployer.bootstrap()
    with locked(tmp_path / "keys"):
        await deployer.bootstrap()
    assert deployer.said[-1].strip() == "Nothing to do.", "what changes nothing needs no lock"


async def test_nothing_is_spent_if_the_settings_are_another_deployments(
    deployer: Deployer, tmp_path: Path
) -> None:
    text = "SOLANA_RPC_URL=http://other\nDATABASE_URL=db\n"
    deployer.env_file.write_text(text)
    before = deployer.running.chain.transaction_count
    deployer.declines = True
    with pytest.raises(StepFailed, match="has another SOLANA_RPC_URL"):
        await deployer.bootstrap(rpc_given=True)
    assert deployer.running.chain.transaction_count == before
    assert files_in(tmp_path) == [deployer.env_file]
    assert deployer.env_file.read_text() == text


async def test_a_payer_who_runs_out_of_sol_is_named_and_the_next_run_goes_on(
    deployer: Deployer,
) -> None:
    await deployer.bootstrap(dry_run=True)
    with pytest.raises(StepFailed, match="lacks"):
        await deployer.bootstrap(airdrop=False)
    operator = deployer.key("operator").pubkey()

    def give(lamports: int) -> None:
        account = Account(lamports, b"", SYSTEM_PROGRAM_ID)
        deployer.running.chain.overwrite(operator, account)

    def spend_elsewhere(line: str) -> None:
        deployer.said.append(line)
        if "written" in line and not spent:
            spent.append(line)
            give(10_000_000)

    spent: list[str] = []
    give(4 * SOL)
    deployer.report = spend_elsewhere
    with pytest.raises(StepFailed, match=f"send SOL to {operator}"):
        await deployer.bootstrap(airdrop=False)
    give(4 * SOL)
    await deployer.bootstrap(airdrop=False)
    assert deployer.said[-1] == "Done."


async def test_limits_are_named_or_refused_in_words(deployer: Deployer) -> None:
    with pytest.raises(ConfigurationError, match="--no-transfer-limits"):
        await deployer.bootstrap(limits=None, dry_run=True)
    await deployer.bootstrap(limits=None, unlimited=True, dry_run=True)
    assert "limit transfers" not in deployer.text


async def test_a_governance_whose_key_is_elsewhere_is_told_what_to_sign(
    deployer: Deployer,
) -> None:
    council = Keypair()
    await deployer.bootstrap(governance=council.pubkey())
    authority = await deployer.authority()
    assert authority is not None
    assert authority.governance == deployer.key("upgrade_authority").pubkey()
    assert authority.pending_governance == council.pubkey()
    await deployer.bootstrap(governance=council.pubkey(), make_mint=False)
    assert f"{council.pubkey()} has to sign: accept governance" in deployer.text
    assert str(deployer.programs.vault) in deployer.text
    await deployer.bootstrap(governance=council.pubkey(), governance_key=council, make_mint=False)
    authority = await deployer.authority()
    assert authority is not None
    assert authority.governance == council.pubkey()
    await deployer.bootstrap(make_mint=False)
    assert deployer.said[-1].strip() == "Nothing to do.", "governance stays where it is"


async def test_a_cluster_without_the_programs_feature_is_refused(deployer: Deployer) -> None:
    feature = REQUIRED_FEATURES[0]
    deployer.put(feature.address, FEATURE_PROGRAM, bytes(9))
    with pytest.raises(StepFailed, match=feature.name):
        await deployer.bootstrap(dry_run=True)


# --- the mint ------------------------------------------------------------------------------------


def usdt(deployer: Deployer, *, owner: Pubkey = TOKEN_PROGRAM_ID, decimals: int = 6) -> Pubkey:
    """Put a mint on the chain."""
    mint = Keypair().pubkey()
    deployer.put(mint, owner, bytes(Mint(None, 0, decimals, is_initialized=True)))
    return mint


async def test_a_mint_of_token_2022_is_refused_with_the_reason(deployer: Deployer) -> None:
    mint = usdt(deployer, owner=TOKEN_2022_PROGRAM_ID)
    with pytest.raises(StepFailed, match="permanent delegate"):
        await deployer.bootstrap(mint=mint, make_mint=False, dry_run=True)


async def test_a_mint_of_other_decimals_is_refused(deployer: Deployer) -> None:
    mint = usdt(deployer, decimals=9)
    with pytest.raises(StepFailed, match="9 decimals"):
        await deployer.bootstrap(mint=mint, make_mint=False, dry_run=True)


async def test_an_absent_mint_is_refused(deployer: Deployer) -> None:
    with pytest.raises(StepFailed, match="there is no mint"):
        await deployer.bootstrap(mint=Keypair().pubkey(), make_mint=False, dry_run=True)
    with pytest.raises(ConfigurationError, match="--mint"):
        await deployer.bootstrap(make_mint=False, dry_run=True)


async def test_a_named_mint_is_shown_with_its_authorities(deployer: Deployer) -> None:
    mint = usdt(deployer)
    await deployer.bootstrap(mint=mint, make_mint=False, dry_run=True)
    assert f"{mint}, 6 decimals, mint authority none, freeze authority none" in deployer.text


async def test_a_payer_with_exactly_what_is_needed_gets_to_the_end(deployer: Deployer) -> None:
    """An account cannot be left with less than the rent of its own bytes."""
    with pytest.raises(StepFailed, match="lacks") as refused:
        await deployer.bootstrap(airdrop=False)
    [lacks] = re.findall(r"lacks (\d+\.\d{9}) SOL", str(refused.value))
    operator = deployer.key("operator").pubkey()
    account = Account(int(lacks.replace(".", "")), b"", SYSTEM_PROGRAM_ID)
    deployer.running.chain.overwrite(operator, account)
    await deployer.bootstrap(airdrop=False)
    assert deployer.said[-1] == "Done."
