"""Programs are upgraded, shown and handed over by commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.bootstrap.programs.commands import ProgramContext, set_authority, show, upgrade
from cvms.bootstrap.programs.program_steps import deployed_program
from cvms.bootstrap.programs.upgrades import NewAuthority
from cvms.bootstrap.transactions import Draft, TransactionSender
from cvms.chain.program import upgradeable_loader as loader
from cvms.chain.program.bundled_programs import bundled_elf
from cvms.chain.program.upgradeable_loader import DeployedProgram, executable_hash
from cvms.errors import ConfigurationError, StepFailed
from tests.bootstrap.deployer import Deployer

NAME = "position_manager"
ELF = bundled_elf(NAME)
GROWN = ELF + b"more" * 2_000
"""Longer than the room that the deployment has left."""
MORE = b"and more"


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    path = tmp_path / "grown.so"
    path.write_bytes(GROWN)
    return path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.so"
    path.write_bytes(GROWN + MORE)
    return path


async def manager(deployer: Deployer) -> DeployedProgram:
    found = await deployed_program(deployer.cluster, deployer.programs.position_manager)
    assert found is not None
    return found


async def test_a_program_that_has_grown_is_extended_and_upgraded(
    deployed: Deployer, grown: Path
) -> None:
    assert len((await manager(deployed)).code) < len(GROWN)
    before = await deployed.balance()
    await upgrade(deployed.command(), NAME, elf=grown, buffer_only=False)
    found = await manager(deployed)
    assert executable_hash(found.code) == executable_hash(GROWN)
    assert await deployed.buffers() == []
    lent = await deployed.cluster.rent(loader.BUFFER_HEADER + len(GROWN))
    assert before - await deployed.balance() < lent, "the buffer's rent has come back"
    await upgrade(deployed.command(), NAME, elf=grown, buffer_only=False)
    assert deployed.said[-1].strip() == "Nothing to do."


async def test_a_dry_run_of_an_upgrade_changes_nothing(deployed: Deployer, grown: Path) -> None:
    sent = deployed.running.chain.transaction_count
    await upgrade(deployed.command(dry_run=True), NAME, elf=grown, buffer_only=False)
    assert "extend it by 10240 bytes" in deployed.text
    assert deployed.running.chain.transaction_count == sent


async def test_an_upgrade_writes_only_what_a_broken_run_has_not(
    deployed: Deployer, grown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_all = TransactionSender.send_all

    async def break_off(self: TransactionSender, drafts: list[Draft], **options: object) -> None:
        if len(drafts) > 1:
            await send_all(self, drafts[:30])
            raise StepFailed("the power is gone")
        await send_all(self, drafts)

    with monkeypatch.context() as patch:
        patch.setattr(TransactionSender, "send_all", break_off)
        with pytest.raises(StepFailed, match="the power is gone"):
            await upgrade(deployed.command(), NAME, elf=grown, buffer_only=False)
    [buffer] = await deployed.buffers()
    await upgrade(deployed.command(), NAME, elf=grown, buffer_only=False)
    assert f"{buffer}" in deployed.text
    assert "write 12 of 42 chunks" in deployed.text
    assert await deployed.buffers() == []


async def test_the_buffer_of_another_file_is_closed_and_made_anew(
    deployed: Deployer, grown: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepared(deployed, grown, monkeypatch)
    await upgrade(deployed.command(), NAME, elf=other, buffer_only=False)
    assert executable_hash((await manager(deployed)).code) == executable_hash(GROWN + MORE)
    assert await deployed.buffers() == []


async def prepared(deployer: Deployer, elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break an upgrade off when its buffer is complete."""
    send = TransactionSender.send

    async def break_off(self: TransactionSender, draft: Draft) -> None:
        if draft.what.startswith("upgrade"):
            raise StepFailed("the power is gone")
        await send(self, draft)

    with monkeypatch.context() as patch:
        patch.setattr(TransactionSender, "send", break_off)
        with pytest.raises(StepFailed):
            await upgrade(deployer.command(), NAME, elf=elf, buffer_only=False)


async def test_a_buffer_that_is_left_over_is_closed(
    deployed: Deployer, grown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepared(deployed, grown, monkeypatch)
    await upgrade(deployed.command(), NAME, elf=None, buffer_only=False)
    assert "left over" in deployed.text
    assert await deployed.buffers() == []


async def test_a_buffer_is_prepared_for_an_authority_that_signs_elsewhere(
    deployed: Deployer, grown: Path
) -> None:
    await upgrade(deployed.command(), NAME, elf=grown, buffer_only=True)
    [buffer] = await deployed.buffers()
    owner = deployed.key("upgrade_authority")
    assert f"to the buffer {buffer}\n  hash {executable_hash(GROWN)}" in deployed.text
    found = loader.read_buffer(await deployed.cluster.account(buffer))
    assert found is not None
    assert (found.authority, found.code) == (owner.pubkey(), GROWN)
    await upgrade(deployed.command(), NAME, elf=grown, buffer_only=True)
    assert f"to the buffer {buffer}" in deployed.text
    assert deployed.said[-1].strip() == "Nothing to do."
    await upgrade(deployed.command(), NAME, elf=grown, buffer_only=False)
    assert executable_hash((await manager(deployed)).code) == executable_hash(GROWN)


async def test_a_buffer_that_was_handed_over_is_not_used_for_another_file(
    deployed: Deployer, grown: Path, other: Path
) -> None:
    """Its authority may have agreed to what is in it; the payer cannot write into it any more."""
    await upgrade(deployed.command(), NAME, elf=grown, buffer_only=True)
    for buffer_only in (True, False):
        with pytest.raises(StepFailed, match="holds another file"):
            await upgrade(deployed.command(), NAME, elf=other, buffer_only=buffer_only)


async def test_another_key_than_the_authoritys_is_refused_before_anything_is_paid(
    deployed: Deployer, grown: Path, tmp_path: Path
) -> None:
    sent = deployed.running.chain.transaction_count
    operator = tmp_path / "keys" / "operator.json"
    with pytest.raises(StepFailed, match="--buffer-only"):
        await upgrade(deployed.command(authority=operator), NAME, elf=grown, buffer_only=False)
    assert deployed.running.chain.transaction_count == sent


async def test_a_file_that_is_no_program_is_refused(deployed: Deployer, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "operator.json"
    with pytest.raises(ConfigurationError, match="not an ELF file"):
        await upgrade(deployed.command(), NAME, elf=path, buffer_only=False)


async def test_a_cluster_that_has_only_the_checked_extension_gets_that(
    deployed: Deployer, grown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake of a cluster: the local chain's loader has no such instruction."""
    send = TransactionSender.send
    extensions: list[Draft] = []

    async def refuse_plain(self: TransactionSender, draft: Draft) -> None:
        if draft.what.startswith("extend"):
            extensions.append(draft)
            if len(extensions) == 1:
                raise StepFailed("no", reason="InvalidInstructionData")
            return
        if draft.what.startswith("upgrade"):
            raise StepFailed("enough seen")
        await send(self, draft)

    monkeypatch.setattr(TransactionSender, "send", refuse_plain)
    with pytest.raises(StepFailed, match="enough seen"):
        await upgrade(deployed.command(), NAME, elf=grown, buffer_only=False)
    [step] = extensions[1].instructions
    authority = deployed.key("upgrade_authority").pubkey()
    assert bytes(step.data) == (9).to_bytes(4, "little") + (10_240).to_bytes(4, "little")
    assert (step.accounts[2].pubkey, step.accounts[2].is_signer) == (authority, True)


# --- show ----------------------------------------------------------------------------------------


async def test_a_program_is_shown_with_the_hash_that_others_can_compute(
    deployed: Deployer,
) -> None:
    await show(deployed.command(), None)
    for name in ("collateral_vault", NAME, "yield_pool"):
        assert f"hash       {executable_hash(bundled_elf(name))}" in deployed.text
    assert deployed.text.count("version    this one") == 3
    await show(deployed.command(), str(deployed.programs.position_manager))
    assert deployed.said[0] == NAME
    await show(deployed.command(), str(Keypair().pubkey()))
    assert "deployed   no" in deployed.text


async def test_a_name_that_is_no_program_is_refused(deployed: Deployer) -> None:
    with pytest.raises(ConfigurationError, match="collateral_vault, position_manager, yield_pool"):
        await show(deployed.command(), "vault")


# --- set-authority -------------------------------------------------------------------------------


async def hand_over(
    context: ProgramContext, address: Pubkey | None, key: Keypair | None = None, **flags: bool
) -> None:
    unchecked = flags.get("unchecked", False)
    await set_authority(context, NAME, NewAuthority(address, key), unchecked=unchecked)


async def test_a_new_authority_signs_too(deployed: Deployer) -> None:
    new = Keypair()
    await hand_over(deployed.command(), new.pubkey(), new)
    assert (await manager(deployed)).authority == new.pubkey()
    await hand_over(deployed.command(), new.pubkey(), new)
    assert deployed.said[-1].strip() == "Nothing to do."


async def test_an_authority_that_cannot_sign_needs_a_flag(deployed: Deployer) -> None:
    multisig = Keypair().pubkey()
    with pytest.raises(ConfigurationError, match="--skip-new-authority-check"):
        await hand_over(deployed.command(), multisig)
    assert (await manager(deployed)).authority == deployed.key("upgrade_authority").pubkey()
    await hand_over(deployed.command(), multisig, unchecked=True)
    assert (await manager(deployed)).authority == multisig
    with pytest.raises(StepFailed, match=f"is {multisig}, not"):
        await hand_over(deployed.command(), None)


async def test_a_program_is_made_final_only_with_its_id_typed(deployed: Deployer) -> None:
    deployed.typed = "yes"
    with pytest.raises(StepFailed, match="nothing was done"):
        await hand_over(deployed.command(), None)
    assert (await manager(deployed)).authority is not None
    deployed.typed = str(deployed.programs.position_manager)
    await hand_over(deployed.command(), None)
    assert (await manager(deployed)).authority is None


async def test_the_vault_program_is_not_final_before_its_authority_exists(
    deployed: Deployer,
) -> None:
    """Nobody could create it afterwards."""
    deployed.typed = str(deployed.programs.vault)
    with pytest.raises(StepFailed, match="cvms bootstrap"):
        await set_authority(
            deployed.command(), "collateral_vault", NewAuthority(None, None), unchecked=False
        )
