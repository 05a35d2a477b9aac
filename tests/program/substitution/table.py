"""For each account of each instruction: the stand-ins, and the error of each."""

from collections.abc import Mapping

from tests.program.harness.ledger import ASSOCIATED, MINT, PROGRAM, SYSTEM, TOKEN

from . import governing, guard_changes, signers, summaries, tokens, vaults
from .cases import NEW_MINT
from .signers import RENT_SYSVAR, the_program
from .standins import (
    Role,
    as_good,
    cut_short,
    elsewhere,
    in_place,
    others_vault,
    owner,
    owners_vault,
    refused_with,
)
from .vaults import ANY_VAULT, AUTHORITY, OWNERS_VAULT, VAULT_OF_THE_TOKENS

TOKEN_PROGRAM = the_program(TOKEN)
SYSTEM_PROGRAM = the_program(SYSTEM)
ASSOCIATED_PROGRAM = the_program(ASSOCIATED)

BY_THE_OWNER: dict[str, Role] = {"owner": signers.SIGNING_OWNER, "vault": OWNERS_VAULT}
BY_GOVERNANCE: dict[str, Role] = {
    "governance": signers.GOVERNANCE,
    "vault_authority": AUTHORITY,
}
BY_A_SIGNER: dict[str, Role] = {
    "authority": signers.VAULTS_SIGNER | as_good(the_owner_who_may=owner),
    "owner": signers.NAMED_OWNER,
    "vault": OWNERS_VAULT,
}
OF_A_PAYOUT: dict[str, Role] = {
    **BY_A_SIGNER,
    "vault_authority": AUTHORITY,
    "vault_token_account": tokens.VAULTS_TOKENS,
    "token_program": TOKEN_PROGRAM,
}
LOCKS: dict[str, Role] = {
    "caller_program": signers.PUPPETS_NAME
    | as_good(anything_where_programs_need_not_name_themselves=signers.unnamed),
    "vault_authority": AUTHORITY,
    "instructions": signers.INSTRUCTIONS_SYSVAR,
    "vault": ANY_VAULT
    | as_good(another_owners_since_listed_programs_are_trusted_with_all=others_vault),
}
TWICE = "ConstraintDuplicateMutableAccount"
OF_A_TRANSFER: dict[str, Role] = {
    "caller_program": LOCKS["caller_program"],
    "vault_authority": AUTHORITY,
    "instructions": signers.INSTRUCTIONS_SYSVAR,
    "from_vault": VAULT_OF_THE_TOKENS | refused_with(TWICE, the_one_that_takes=others_vault),
    "to_vault": VAULT_OF_THE_TOKENS | refused_with(TWICE, the_one_that_gives=owners_vault),
    "from_vault_token_account": tokens.VAULTS_TOKENS,
    "to_vault_token_account": tokens.VAULTS_TOKENS,
    "token_program": TOKEN_PROGRAM,
}
OF_YIELD: dict[str, Role] = {
    **BY_A_SIGNER,
    "vault_authority": AUTHORITY,
    "yield_program": signers.YIELD_PROGRAM,
    "pool_call_owner_tokens": tokens.TOKENS_PASSED_ON,
}
# The position manager reads a prefix of accounts whose length the vault program checks.
SEEDS_BEFORE_LENGTH = refused_with("ConstraintSeeds", cut_short_elsewhere=elsewhere(cut_short))
OF_ANY_PROGRAM = OWNERS_VAULT | vaults.VAULT_OF_ANY_PROGRAM | SEEDS_BEFORE_LENGTH
A_COPYS_SUMMARY_IS_ELSEWHERE = vaults.vault_of_the_same_owner_with_a_copy("ConstraintSeeds")
OF_A_POSITION: dict[str, Role] = {
    **LOCKS,
    "caller_program": signers.MANAGERS_NAME,
    "vault": OF_ANY_PROGRAM | vaults.vault_of_the_same_owner_with_a_copy("InvalidProgramId"),
    "position_summary": summaries.SUMMARY,
    "collateral_vault_program": the_program(PROGRAM),
    "authority": signers.VAULTS_SIGNER | as_good(the_owner_who_may=owner),
}

TABLE: dict[str, Mapping[str, Role]] = {
    "initialize": {"system_program": SYSTEM_PROGRAM},
    "initialize_vault": {
        "user": signers.NEW_OWNER,
        "vault": vaults.NEW_VAULT,
        "vault_token_account": tokens.new_tokens("stranger", MINT),
        "usdt_mint": tokens.NEW_MINT,
        "system_program": SYSTEM_PROGRAM,
        "token_program": TOKEN_PROGRAM,
        "associated_token_program": ASSOCIATED_PROGRAM,
        "rent": RENT_SYSVAR,
    },
    "deposit": {
        **BY_A_SIGNER,
        "authority": signers.VAULTS_SIGNER
        | refused_with("OwnerMismatch", the_owner_with_the_delegates_tokens=owner),
        "user_token_account": tokens.PAYERS_TOKENS,
        "vault_token_account": tokens.VAULTS_TOKENS,
        "token_program": TOKEN_PROGRAM,
    },
    "withdraw": {
        **OF_A_PAYOUT,
        "user_token_account": tokens.recipients_tokens("Unauthorized")
        | as_good(a_whitelisted_wallets=tokens.tokens_of("friend")),
        "first_summary": summaries.CREATED_CONSENT,
        "second_summary": summaries.MISSING_CONSENT,
    },
    "emergency_withdraw": {
        **OF_A_PAYOUT,
        "authority": signers.EMERGENCY_SIGNER | as_good(the_owner_who_may=owner),
        "user_token_account": tokens.recipients_tokens("ConstraintTokenOwner"),
    },
    "set_vault_multisig": BY_THE_OWNER,
    "disable_vault_multisig": BY_THE_OWNER,
    "lock_collateral": LOCKS,
    "unlock_collateral": LOCKS,
    "transfer_collateral": {
        **OF_A_TRANSFER,
        "transfer_limits": governing.LIMITS_OF_A_TRANSFER,
    },
    "schedule_timelock": BY_A_SIGNER,
    "release_timelocks": {**BY_A_SIGNER, "authority": signers.ANYBODY},
    "request_withdraw": BY_THE_OWNER,
    "set_withdraw_min_delay": BY_THE_OWNER,
    "set_withdraw_rate_limit": BY_THE_OWNER,
    "add_withdraw_whitelist": BY_THE_OWNER,
    "remove_withdraw_whitelist": BY_THE_OWNER,
    "set_transfer_allowance": BY_THE_OWNER,
    "request_guard_change": {
        **BY_THE_OWNER,
        "guard_change": guard_changes.NEW_GUARD_REQUEST,
        "system_program": SYSTEM_PROGRAM,
    },
    "apply_guard_change": {**BY_THE_OWNER, "guard_change": guard_changes.GUARD_REQUEST},
    "cancel_guard_change": {
        "authority": signers.CANCELLING_SIGNER,
        "owner": signers.NAMED_OWNER,
        "vault": guard_changes.NAMED_VAULT,
        "guard_change": guard_changes.GUARD_REQUEST,
    },
    "initialize_vault_authority": {
        "governance": governing.UPGRADE_AUTHORITY,
        "vault_authority": vaults.NEW_AUTHORITY,
        "system_program": SYSTEM_PROGRAM,
        "program_data": governing.PROGRAM_DATA,
    },
    "propose_governance": {
        "authority": governing.PROPOSER,
        "vault_authority": AUTHORITY,
        "program_data": governing.PROGRAM_DATA,
    },
    "accept_governance": {"new_governance": governing.PROPOSED, "vault_authority": AUTHORITY},
    "pause_withdrawals": BY_GOVERNANCE,
    "set_transfer_limits": {
        **BY_GOVERNANCE,
        "transfer_limits": governing.LIMITS,
        "system_program": SYSTEM_PROGRAM,
    },
    "add_authorized_program": BY_GOVERNANCE,
    "remove_authorized_program": BY_GOVERNANCE,
    "set_freeze_flag": BY_GOVERNANCE,
    "set_cpi_enforced": BY_GOVERNANCE,
    "add_yield_program": BY_GOVERNANCE,
    "remove_yield_program": BY_GOVERNANCE,
    "set_risk_level": BY_GOVERNANCE,
    "add_delegate": BY_THE_OWNER,
    "remove_delegate": BY_THE_OWNER,
    "update_usdt_mint": {
        **BY_GOVERNANCE,
        "vault": VAULT_OF_THE_TOKENS,
        "vault_token_account": tokens.new_tokens("owner", NEW_MINT),
        "new_mint": tokens.NEW_MINT,
        "system_program": SYSTEM_PROGRAM,
        "token_program": TOKEN_PROGRAM,
        "associated_token_program": ASSOCIATED_PROGRAM,
    },
    "close_vault": {
        "user": signers.SIGNING_OWNER,
        "vault": OWNERS_VAULT,
        "vault_token_account": tokens.VAULTS_TOKENS
        | as_good(itself_frozen=in_place(tokens.frozen)),  # an empty account may be closed
        "token_program": TOKEN_PROGRAM,
    },
    "sweep": {
        "owner": signers.SIGNING_OWNER,
        "vault": OWNERS_VAULT,
        "vault_authority": AUTHORITY,
        "token_account": tokens.SWEPT_TOKENS,
        "recipient_token_account": tokens.recipients_tokens("ConstraintTokenOwner"),
        "token_program": TOKEN_PROGRAM,
    },
    "get_vault_info": {
        "vault": ANY_VAULT | as_good(another_owners_since_anybody_may_look=others_vault)
    },
    "yield_deposit": OF_YIELD,
    "yield_withdraw": OF_YIELD,
    "compound_yield": OF_YIELD,
    "cancel_withdraw_request": BY_THE_OWNER,
    "cancel_timelock": BY_THE_OWNER,
    "request_exit": BY_THE_OWNER,
    "release_unclaimed": {
        **BY_THE_OWNER,
        "vault_authority": AUTHORITY,
        "first_summary": summaries.CREATED_CONSENT,
        "second_summary": summaries.MISSING_CONSENT,
    },
    "init_position_summary": {
        "payer": signers.ANYBODY,
        "vault": OF_ANY_PROGRAM
        | A_COPYS_SUMMARY_IS_ELSEWHERE
        | as_good(cut_short_in_its_place=in_place(cut_short)),
        "position_summary": summaries.NEW_SUMMARY,
        "system_program": SYSTEM_PROGRAM,
    },
    "open_position": OF_A_POSITION,
    "close_position": OF_A_POSITION,
    "rebalance_collateral": {
        **OF_A_TRANSFER,
        "caller_program": signers.MANAGERS_NAME,
        "vault_authority": vaults.AUTHORITY_OF_ANY_PROGRAM | SEEDS_BEFORE_LENGTH,
        "collateral_vault_program": the_program(PROGRAM),
        "authority": signers.GOVERNANCE,
    },
    "settle_position_summary": {
        "vault": OF_ANY_PROGRAM
        | A_COPYS_SUMMARY_IS_ELSEWHERE
        | as_good(cut_short_in_its_place=in_place(cut_short)),
        "position_summary": summaries.SUMMARY,
    },
}
