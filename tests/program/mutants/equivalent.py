"""Mutants that no test can kill, because they behave like the original. Each was reviewed."""

POOL = "yield_pool/src/instructions/initialize_pool.rs process: "

EQUIVALENT: dict[str, str] = {
    f"{POOL}accounts::pool_tokens(&pool, pool_tokens)?; -> ": (
        "the associated token program has just made the account, or found it to be the pool's"
    ),
    f"{POOL}accounts::reserve_tokens(&pool, reserve_tokens)?; -> ": (
        "the call before has just made the account"
    ),
    "collateral_vault/src/accounts.rs guard_request: request.vault == *vault && "
    "request.owner == *owner -> request.owner == *owner": (
        "the address, which is verified, contains the vault"
    ),
    "collateral_vault/src/caller.rs signs: !remaining.iter().any(|account| account.is_signer())"
    " -> false": "without a signer no account is the PDA that signs: it only saves the search",
    "collateral_vault/src/instructions/guard_changes.rs apply: "
    "now.saturating_sub(request.requested_at) -> now.wrapping_sub(request.requested_at)": (
        "a request that is executable was made at most 372 days ago"
    ),
    "yield_pool/src/interest.rs growth: now <= since -> now < since": (
        "the difference of equal times is zero as well"
    ),
}
"""The reason why, by `Mutant.key`."""
