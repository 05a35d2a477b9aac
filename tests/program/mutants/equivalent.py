"""Mutants that no test can kill, because they behave like the original. Each was reviewed."""

POOL = "yield_pool/src/instructions/initialize_pool.rs process: "

EQUIVALENT: dict[str, str] = {
    f"{POOL}accounts::pool_tokens(&pool, pool_tokens)?; -> ": (
        "the associated token program has just made the account, or found it to be the pool's"
    ),
    f"{POOL}accounts::reserve_tokens(&pool, reserve_tokens)?; -> ": (
        "the call before has just made the account"
    ),
    "yield_pool/src/interest.rs growth: now <= since -> now < since": (
        "the difference of equal times is zero as well"
    ),
}
"""The reason why, by `Mutant.key`."""
