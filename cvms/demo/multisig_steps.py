"""Steps of the demo: a vault whose withdrawals need two of three signatures."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.keypair import Keypair

from cvms.chain.program import instructions
from cvms.chain.program.addresses import position_summary_address, token_account, vault_address
from cvms.demo.context import USDT, DemoContext, DemoStep


async def require_two(demo: DemoContext) -> None:
    """Alice requires two of three signatures, so the service cannot withdraw for her any more."""
    signers = [demo.alice.pubkey(), demo.bob.pubkey(), Keypair().pubkey()]
    await demo.send_as_alice(
        instructions.set_vault_multisig(
            demo.programs, owner=demo.alice.pubkey(), signers=signers, threshold=2
        )
    )
    await demo.refused_by_program(50 * USDT, "Unauthorized")
    await demo.expect_balances(available=400 * USDT)


async def withdraw_with_two(demo: DemoContext) -> None:
    """A transaction signed by Alice and Bob withdraws 50 USDT. Both disable the multisig."""
    await demo.send_as_alice(_withdrawal(demo, 50 * USDT), signers=(demo.bob,))
    await demo.see_event("withdraw_event", "amount", 50 * USDT)
    await demo.expect_balances(available=350 * USDT)
    await demo.send_as_alice(
        instructions.disable_vault_multisig(
            demo.programs, owner=demo.alice.pubkey(), extra_signers=[demo.bob.pubkey()]
        ),
        signers=(demo.bob,),
    )


def _withdrawal(demo: DemoContext, amount: int) -> Instruction:
    alice, programs = demo.alice.pubkey(), demo.programs
    vault = vault_address(programs, alice)
    return instructions.withdraw(
        programs,
        authority=alice,
        owner=alice,
        recipient_token_account=token_account(alice, programs.mint),
        position_summaries=[position_summary_address(programs.position_manager, vault)],
        amount=amount,
        extra_signers=[demo.bob.pubkey()],
    )


STEPS: tuple[DemoStep, ...] = (require_two, withdraw_with_two)
