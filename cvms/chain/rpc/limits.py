"""Limits that a Solana node sets on one call. Source: https://solana.com/docs/rpc/http."""

SIGNATURES_PER_CALL = 1000  # getSignaturesForAddress
ACCOUNTS_PER_CALL = 100  # getMultipleAccounts; they all hold for one slot
STATUSES_PER_CALL = 256  # getSignatureStatuses
FEE_ADDRESSES_PER_CALL = 128  # getRecentPrioritizationFees
