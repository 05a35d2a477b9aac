"""An owner leaves without anybody's consent, and takes back stray tokens."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.addresses import token_account, vault_address
from cvms.dev.chain_setup import make_mint
from tests.harness.localnet import Localnet
from tests.harness.service import Service
from tests.http.multisig.signers import on_chain, shared_vault
from tests.http.vaults.guards.chain_steps import (
    WEEK,
    lock,
    pass_time,
    refusal,
    sent_by,
    tokens_of,
    vault_of,
)
from tests.http.wallets import USDT, signed, with_vault

REQUEST, RELEASE, WITHDRAW = (
    f"/api/vault/exit/{step}" for step in ("request", "release", "withdraw")
)
SWEEP, CLOSE = "/api/vault/sweep", "/api/vault/close"


async def govern(front: Service, instruction: Instruction) -> None:
    await on_chain(front, front.operator, instruction)


async def exit_requested(front: Service, wallet: Keypair) -> None:
    body = await signed(front, wallet, "exit_request")
    await sent_by(front, [wallet], await front.post(REQUEST, body))


async def given(front: Service, owner: Pubkey, mint: Pubkey, amount: int) -> None:
    """Set what the associated token account of a wallet or a vault holds."""
    await front.rpc.call("surfnet_setTokenAccount", [str(owner), str(mint), {"amount": amount}])


async def test_while_all_is_frozen_an_exit_frees_what_is_available(
    front: Service, localnet: Localnet
) -> None:
    wallet, programs = await with_vault(front, amount=10 * USDT), front.config.programs
    await lock(front, wallet, 6 * USDT)
    operator = front.operator.pubkey()
    await govern(front, instructions.set_freeze_flag(programs, governance=operator, freeze=True))
    before = await tokens_of(front, wallet.pubkey())
    assert before is not None
    await exit_requested(front, wallet)
    body = await signed(front, wallet, "exit_withdraw", ("amount", 4 * USDT))
    assert refusal(await front.post(WITHDRAW, body)) == "OpenPositionsExist"
    early = await front.post(RELEASE, await signed(front, wallet, "exit_release"))
    assert refusal(early) == "NotExecutableNow"

    pass_time(localnet, WEEK)
    claimed = await front.post(RELEASE, await signed(front, wallet, "exit_release"))
    assert refusal(claimed) == "NotFound"  # the position claims all that is locked
    body = await signed(front, wallet, "exit_withdraw", ("amount", 4 * USDT))
    await sent_by(front, [wallet], await front.post(WITHDRAW, body))
    vault = await vault_of(front, wallet)
    assert (vault.locked_balance, vault.available_balance) == (6 * USDT, 0)
    assert await tokens_of(front, wallet.pubkey()) == before + 4 * USDT
    body = await signed(front, wallet, "exit_withdraw", ("amount", 1))
    assert refusal(await front.post(WITHDRAW, body)) == "InsufficientFunds"

    pass_time(localnet, WEEK + 60)
    late = await front.post(RELEASE, await signed(front, wallet, "exit_release"))
    assert refusal(late) == "NotExecutableNow"


async def test_an_exit_releases_what_no_authorized_program_claims(
    front: Service, localnet: Localnet
) -> None:
    wallet, programs = await with_vault(front, amount=10 * USDT), front.config.programs
    await lock(front, wallet, 6 * USDT)
    remove = instructions.remove_authorized_program(
        programs, governance=front.operator.pubkey(), program=programs.position_manager
    )
    await govern(front, remove)
    await exit_requested(front, wallet)
    pass_time(localnet, WEEK)
    reply = await front.post(RELEASE, await signed(front, wallet, "exit_release"))
    await sent_by(front, [wallet], reply)
    vault = await vault_of(front, wallet)
    assert (vault.locked_balance, vault.available_balance) == (0, 10 * USDT)


async def test_an_exit_from_a_multisig_takes_its_signers(front: Service) -> None:
    shared = await shared_vault(front)
    owner, (first, second, third) = shared.owner, shared.signers
    alone = await front.post(REQUEST, await signed(front, owner, "exit_request"))
    assert refusal(alone) == "Unauthorized"
    named = [str(each.pubkey()) for each in (first, second)]
    body = await signed(front, owner, "exit_request", signers=named)
    await sent_by(front, [owner, first, second], await front.post(REQUEST, body))
    assert (await vault_of(front, owner)).exit_at > 0

    named = [str(each.pubkey()) for each in (second, third)]
    amount = ("amount", 30 * USDT)
    body = await signed(front, owner, "exit_withdraw", amount, signers=named)
    await sent_by(front, [owner, second, third], await front.post(WITHDRAW, body))
    assert (await vault_of(front, owner)).total_balance == 70 * USDT


async def test_an_owner_without_a_token_account_pays_for_it(front: Service) -> None:
    wallet = await with_vault(front, amount=10 * USDT)
    address = token_account(wallet.pubkey(), front.config.programs.mint)
    empty = {"lamports": 0, "data": "", "owner": str(Pubkey.default())}
    await front.rpc.call("surfnet_setAccount", [str(address), empty])
    body = await signed(front, wallet, "exit_withdraw", ("amount", 1 * USDT))
    await sent_by(front, [wallet], await front.post(WITHDRAW, body))
    assert await tokens_of(front, wallet.pubkey()) == 1 * USDT


async def test_tokens_of_another_mint_are_swept_and_their_account_is_closed(
    front: Service,
) -> None:
    wallet, mint = await with_vault(front, amount=10 * USDT), Keypair().pubkey()
    vault = vault_address(front.config.programs, wallet.pubkey())
    await make_mint(front.rpc, mint, authority=mint)
    await given(front, vault, mint, 7)
    swept = ("token_account", str(token_account(vault, mint)))
    await sent_by(
        front, [wallet], await front.post(SWEEP, await signed(front, wallet, "sweep", swept))
    )
    assert await tokens_of(front, wallet.pubkey(), mint) == 7
    assert await tokens_of(front, vault, mint) is None
    assert (await vault_of(front, wallet)).total_balance == 10 * USDT


async def test_of_the_vaults_own_account_only_the_surplus_is_swept(front: Service) -> None:
    wallet, programs = await with_vault(front, amount=10 * USDT), front.config.programs
    vault = vault_address(programs, wallet.pubkey())
    before = await tokens_of(front, wallet.pubkey())
    assert before is not None
    own = ("token_account", str(token_account(vault, programs.mint)))
    nothing = await front.post(SWEEP, await signed(front, wallet, "sweep", own))
    assert refusal(nothing) == "InvalidAmount"
    await given(front, vault, programs.mint, 10 * USDT + 3)
    await sent_by(
        front, [wallet], await front.post(SWEEP, await signed(front, wallet, "sweep", own))
    )
    assert await tokens_of(front, vault) == 10 * USDT
    assert await tokens_of(front, wallet.pubkey()) == before + 3


async def test_only_token_accounts_of_the_vault_are_swept(front: Service) -> None:
    wallet = await with_vault(front)
    mint = front.config.programs.mint
    others = token_account(wallet.pubkey(), mint), mint, wallet.pubkey(), Keypair().pubkey()
    for address in others:
        fields = ("token_account", str(address))
        reply = await front.post(SWEEP, await signed(front, wallet, "sweep", fields))
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


async def test_dust_does_not_keep_a_vault_open(front: Service) -> None:
    wallet, programs = await with_vault(front), front.config.programs
    vault = vault_address(programs, wallet.pubkey())
    before = await tokens_of(front, wallet.pubkey())
    assert before is not None
    await given(front, vault, programs.mint, 1)
    reply = await front.post(CLOSE, await signed(front, wallet, "close_vault"))
    await sent_by(front, [wallet], reply)
    assert await tokens_of(front, wallet.pubkey()) == before + 1
    assert await tokens_of(front, vault) is None
    gone = await front.post(CLOSE, await signed(front, wallet, "close_vault"))
    assert gone.json()["code"] == "vault_not_found"


async def test_dust_of_a_multisig_takes_its_signers_and_a_vault_without_does_not(
    front: Service,
) -> None:
    shared = await shared_vault(front)
    owner, (first, second, _) = shared.owner, shared.signers
    named = [str(each.pubkey()) for each in (first, second)]
    amount = ("amount", 100 * USDT)
    body = await signed(front, owner, "exit_withdraw", amount, signers=named)
    await sent_by(front, [owner, first, second], await front.post(WITHDRAW, body))
    assert (await front.post(CLOSE, await signed(front, owner, "close_vault"))).status_code == 200
    vault = vault_address(front.config.programs, owner.pubkey())
    await given(front, vault, front.config.programs.mint, 1)
    alone = await front.post(CLOSE, await signed(front, owner, "close_vault"))
    assert refusal(alone) == "Unauthorized"
    body = await signed(front, owner, "close_vault", signers=named)
    async with front.database.connection() as conn:
        await conn.execute("DELETE FROM submissions")
    await sent_by(front, [owner, first, second], await front.post(CLOSE, body))
    assert await tokens_of(front, vault) is None
