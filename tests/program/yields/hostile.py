"""A whitelisted yield program that turns hostile, and what it does with the vault's signature.

The puppet plays it. `HANDS` signs for it, and `pocket` is where it puts what it takes.
"""

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.ledger import (
    ASSOCIATED,
    MINT,
    SOL,
    SYSTEM,
    TOKEN,
    Ledger,
    readonly,
    signer,
    token_address,
    vault_address,
)
from tests.program.harness.puppet import (
    PUPPET,
    Command,
    When,
    own_address,
    with_puppet,
    write_script,
)
from tests.program.harness.venues import move, whitelist, writable

AMOUNT = 20
HANDS = own_address()
POCKET = token_address(HANDS)


def whitelist_hostile_program(ledger: Ledger, governance: Keypair) -> None:
    with_puppet(ledger)
    whitelist(ledger, governance, PUPPET)
    ledger.put_tokens(HANDS, 0)
    ledger.svm.airdrop(HANDS, SOL)


def order(
    ledger: Ledger,
    name: str,
    owner: Keypair,
    /,
    *commands: Command,
    amount: int = AMOUNT,
    also: tuple[AccountMeta, ...] = (),
) -> Instruction:
    """Return the yield instruction, on which the hostile program runs `commands` instead.

    It gets the accounts of the commands, those in `also`, and the vault's.
    """
    vault = vault_address(owner.pubkey())
    *accounts, script = write_script(ledger, *commands, signing_later=[vault, HANDS])
    through = [*accounts, *also, writable(token_address(vault)), readonly(vault), script]
    return move(name, owner.pubkey(), amount, program=PUPPET, through=through)


def take(owner: Keypair, amount: int, source: Pubkey | None = None) -> Instruction:
    """Return a transfer of the vault's tokens, with its signature."""
    vault = vault_address(owner.pubkey())
    return transfer(source or token_address(vault), POCKET, vault, amount)


def pay(owner: Keypair, amount: int) -> Instruction:
    return transfer(POCKET, token_address(vault_address(owner.pubkey())), HANDS, amount)


def honest(name: str, owner: Keypair) -> Instruction:
    return take(owner, AMOUNT) if name == "yield_deposit" else pay(owner, AMOUNT)


def honest_compound(owner: Keypair, amount: int = AMOUNT) -> tuple[When, When]:
    return When("claim", (pay(owner, amount),)), When("deposit", (take(owner, amount),))


# Instructions of SPL Token. Without `tokens` they concern the vault's own token account.


def transfer(source: Pubkey, target: Pubkey, authority: Pubkey, amount: int) -> Instruction:
    data = b"\3" + amount.to_bytes(8, "little")
    return Instruction(TOKEN, data, [writable(source), writable(target), signer(authority)])


def approve(owner: Keypair, amount: int, tokens: Pubkey | None = None) -> Instruction:
    """Return an approval for the program to spend so much of the vault's tokens later."""
    vault = vault_address(owner.pubkey())
    accounts = [writable(tokens or token_address(vault)), readonly(HANDS), signer(vault)]
    return Instruction(TOKEN, b"\4" + amount.to_bytes(8, "little"), accounts)


def set_authority(owner: Keypair, kind: int, tokens: Pubkey | None = None) -> Instruction:
    """Return the program's takeover as owner (2) or close authority (3) of the token account."""
    vault = vault_address(owner.pubkey())
    accounts = [writable(tokens or token_address(vault)), signer(vault)]
    return Instruction(TOKEN, bytes([6, kind, 1]) + bytes(HANDS), accounts)


def burn(source: Pubkey, mint: Pubkey, authority: Pubkey, amount: int) -> Instruction:
    data = b"\x08" + amount.to_bytes(8, "little")
    return Instruction(TOKEN, data, [writable(source), writable(mint), signer(authority)])


def close(owner: Keypair, tokens: Pubkey | None = None) -> Instruction:
    vault = vault_address(owner.pubkey())
    accounts = [writable(tokens or token_address(vault)), writable(HANDS), signer(vault)]
    return Instruction(TOKEN, b"\x09", accounts)


def recreate(owner: Keypair, mint: Pubkey = MINT) -> Instruction:
    """Return the creation of the vault's associated token account, paid by the program."""
    vault = vault_address(owner.pubkey())
    accounts = [
        AccountMeta(HANDS, True, True),
        writable(token_address(vault, mint)),
        *map(readonly, (vault, mint, SYSTEM, TOKEN)),
    ]
    return Instruction(ASSOCIATED, b"\1", accounts)
