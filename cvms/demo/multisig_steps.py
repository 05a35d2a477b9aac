"""Two of three have to sign: nobody moves tokens alone, neither the owner nor the delegate."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.keypair import Keypair

from cvms.chain.program import instructions
from cvms.demo.context import USDT, DemoContext, DemoStep


async def require_two(stage: DemoContext) -> None:
    """Alice requires two signatures of hers, Bob's and a third key's: the service is refused."""
    signers = [stage.alice.pubkey(), stage.bob.pubkey(), Keypair().pubkey()]
    await stage.send_as_alice(
        instructions.set_vault_multisig(
            stage.programs, owner=stage.alice.pubkey(), signers=signers, threshold=2
        )
    )
    await stage.refused_by_program(50 * USDT, "Unauthorized")
    await stage.expect_balances(available=400 * USDT)


async def withdraw_with_two(stage: DemoContext) -> None:
    """One transaction, signed by Alice and by Bob, withdraws 50 USDT; then one suffices again."""
    await stage.send_as_alice(_withdrawal(stage, 50 * USDT), signers=(stage.bob,))
    await stage.see_event("withdraw_event", "amount", 50 * USDT)
    await stage.expect_balances(available=350 * USDT)
    await stage.send_as_alice(
        instructions.disable_vault_multisig(stage.programs, owner=stage.alice.pubkey())
    )


def _withdrawal(stage: DemoContext, amount: int) -> Instruction:
    alice, programs = stage.alice.pubkey(), stage.programs
    vault = instructions.vault_address(programs, alice)
    return instructions.withdraw(
        programs,
        authority=alice,
        owner=alice,
        recipient_token_account=instructions.token_account(alice, programs.mint),
        position_summaries=[
            instructions.position_summary_address(programs.position_manager, vault)
        ],
        amount=amount,
        extra_signers=[stage.bob.pubkey()],
    )


STEPS: tuple[DemoStep, ...] = (require_two, withdraw_with_two)
