"""Mutants that no test can kill, because they behave like the original. Each was reviewed."""

POOL = "yield_pool/src/instructions/initialize_pool.rs process: "
ROOM = "a buffer has room that nothing uses"
LOADED = "whatever is executable is owned by a loader"
SUPPLY = "the amounts of a mint's tokens are at most its supply, which is a u64"
NATIVE = "the virtual machine asks its own account, not what the call says of it"
ITSELF = "it writes an entry onto itself, removes none, or adds nothing"
REST = "requests behind the last that is used are moved here instead of below"
CLOCK = "both times come from the clock, or are later by a delay: their difference fits"
PART = "the books add up: what is available, or lent, is a part of the total"

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
    "collateral_vault/src/instructions/guard_changes.rs apply: "
    "request.executable_at.saturating_add(EXECUTABLE_FOR) -> "
    "request.executable_at.wrapping_add(EXECUTABLE_FOR)": (
        "no delay is longer than a year, so a request is executable within 372 days"
    ),
    "collateral_vault/src/holdings.rs left: "
    "sum.saturating_add(held.amount.saturating_sub(tokens.amount()?)) -> "
    "sum.wrapping_add(held.amount.saturating_sub(tokens.amount()?))": SUPPLY,
    "collateral_vault/src/limits.rs has_expired: now.saturating_sub(start) -> "
    "now.wrapping_sub(start)": CLOCK,
    "collateral_vault/src/limits.rs consume_rate: now.saturating_sub(rate.window_start) -> "
    "now.wrapping_sub(rate.window_start)": CLOCK,
    "collateral_vault/src/limits.rs consume_requests: missing > 0 && index < length -> "
    "index < length": REST,
    "collateral_vault/src/limits.rs consume_requests: missing > 0 -> missing >= 0": REST,
    "collateral_vault/src/limits.rs consume_requests: kept < index -> true": ITSELF,
    "collateral_vault/src/limits.rs consume_requests: kept < index -> kept <= index": ITSELF,
    "collateral_vault/src/state/balances.rs transfer_out: self.total.checked_sub(amount) -> "
    "Some(self.total.wrapping_sub(amount))": PART,
    "collateral_vault/src/state/entries.rs release_timelocks: kept < index -> true": ITSELF,
    "collateral_vault/src/state/entries.rs release_timelocks: kept < index -> kept <= index": (
        ITSELF
    ),
    "collateral_vault/src/state/entries.rs release_timelocks: kept < length -> true": ITSELF,
    "collateral_vault/src/state/entries.rs release_timelocks: kept < length -> kept <= length": (
        ITSELF
    ),
    "collateral_vault/src/state/guard_request.rs read: data .len() .checked_sub(CHANGE) -> "
    "Some(data .len().wrapping_sub(CHANGE))": "no buffer is as long as what wraps around",
    "collateral_vault/src/state/transfer_limits.rs count_in_window: now.saturating_sub(start) -> "
    "now.wrapping_sub(start)": CLOCK,
    "collateral_vault/src/state/vault.rs check: "
    "balances.total.saturating_sub(balances.yield_deposited) -> "
    "balances.total.wrapping_sub(balances.yield_deposited)": PART,
    "collateral_vault/src/surplus.rs of_own_account: balances.total.checked_sub(lent) -> "
    "Some(balances.total.wrapping_sub(lent))": PART,
    "collateral_vault/src/transfers.rs consume_allowance: unlocked == 0 -> false": (
        "taking nothing leaves any allowance as it is"
    ),
    "collateral_vault/src/yield_call.rs deposit: before.checked_sub(amount) -> "
    "Some(before.wrapping_sub(amount))": "no account holds what wraps around",
    "collateral_vault/src/yield_call.rs withdraw: before.checked_add(amount) -> "
    "Some(before.wrapping_add(amount))": (
        "the check that follows wants what wraps around to cover the amount"
    ),
    "collateral_vault/src/yield_call.rs claim: before.checked_add(amount) -> "
    "Some(before.wrapping_add(amount))": (
        "the deposit that follows lends the same amount, which what wraps around does not hold"
    ),
    "position_manager/src/collateral.rs call: !parties.remaining.is_empty() -> true": (
        "the way for further accounts makes the same call without any, at a greater cost"
    ),
    "position_manager/src/collateral.rs caller_pda: "
    "!remaining.iter().any(|account| account.owned_by(&system::ID)) -> false": (
        "it only saves the search"
    ),
    "position_manager/src/collateral.rs caller_pda: *account.key() == address -> true": (
        "seeds of an account that is not passed on sign nothing"
    ),
    "sdk/src/bytes.rs part: at.checked_add(length) -> Some(at.wrapping_add(length))": (
        "positions and lengths are below 2^40: they come from u32 values and constants"
    ),
    "sdk/src/cpi.rs MAX_SEEDS: 4 -> (4) + 1": ROOM,
    "sdk/src/input.rs close: theirs.lamports.get().checked_add(ours.lamports.get()) -> "
    "Some(theirs.lamports.get().wrapping_add(ours.lamports.get()))": (
        "all lamports that there are fit in a u64"
    ),
    "sdk/src/input.rs close: self.data().clear(0, self.data().len())?; -> ": (
        "the account has no data in the next line, and the runtime clears what grows"
    ),
    "sdk/src/input.rs info: header.executable != 0 -> true": NATIVE,
    "sdk/src/input.rs info: header.executable != 0 -> false": NATIVE,
    "sdk/src/input.rs is_executable: self.header().executable != 0 -> false": LOADED,
    "sdk/src/loader.rs is_program: account.is_executable() || "
    "LOADERS.iter().any(|loader| account.owned_by(loader)) -> "
    "LOADERS.iter().any(|loader| account.owned_by(loader))": LOADED,
    "sdk/src/log.rs LENGTH: 32 -> (32) + 1": ROOM,
    "sdk/src/log.rs LENGTH: 1 -> (1) + 1": ROOM,
    "sdk/src/log.rs LENGTH: 4 + 32 * MAX -> (4 + 32 * MAX) + 1": ROOM,
    "sdk/src/log.rs LENGTH: MAX -> (MAX) + 1": ROOM,
    "collateral_vault/src/state/guard_request.rs GUARD_CHANGE_LENGTH: 1 + (4 + 32 * SIGNERS) + 1"
    " -> (1 + (4 + 32 * SIGNERS) + 1) + 1": "a longer change has too many signers to be read",
    "sdk/src/pda.rs MAX_SEEDS: 4 -> (4) + 1": ROOM,
    "sdk/src/pda.rs find: if failed == 0 { Ok((address, bump)) } else "
    "{ Err(AnchorError::ConstraintSeeds) } -> { Ok((address, bump)) }": (
        "it fails if 255 hashes in a row are on the curve: nobody knows such seeds"
    ),
    "sdk/src/system.rs create_pda: held == 0 -> false": (
        "the way for an address with lamports makes the same account, at a greater cost"
    ),
    "sdk/src/system.rs create_pda: held < rent -> held <= rent": "a transfer of nothing",
    "sdk/src/sysvar.rs rent_exemption: failed || fraction != 0 -> fraction != 0": (
        "the syscall fails only for an address outside of the program's memory"
    ),
    "sdk/src/sysvar.rs running_program: data.len().checked_sub(2) -> "
    "Some(data.len().wrapping_sub(2))": "the runtime writes the account, with four bytes at least",
    "yield_pool/src/interest.rs growth: now <= since -> now < since": (
        "the difference of equal times is zero as well"
    ),
}
"""The reason why, by `Mutant.key`."""
