"""The name of every method, and what answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cvms.localnet.node.node import Node
from cvms.localnet.rpc import accounts, blocks, cheats, fees, history, nodes, sending, tokens
from cvms.localnet.rpc.params import Params
from cvms.localnet.rpc.simulation import simulate_transaction
from cvms.localnet.types import Json

Method = Callable[[Node, Params], Json]

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "getAccountInfo": accounts.get_account_info,
        "getBalance": accounts.get_balance,
        "getMinimumBalanceForRentExemption": accounts.get_minimum_balance,
        "getMultipleAccounts": accounts.get_multiple_accounts,
        "getProgramAccounts": accounts.get_program_accounts,
        "getTokenAccountBalance": tokens.get_token_account_balance,
        "getTokenAccountsByDelegate": tokens.get_token_accounts_by_delegate,
        "getTokenAccountsByOwner": tokens.get_token_accounts_by_owner,
        "getTokenLargestAccounts": tokens.get_token_largest_accounts,
        "getTokenSupply": tokens.get_token_supply,
        "getBlock": blocks.get_block,
        "getBlockTime": blocks.get_block_time,
        "getBlocks": blocks.get_blocks,
        "getBlocksWithLimit": blocks.get_blocks_with_limit,
        "getFirstAvailableBlock": blocks.get_first_available_block,
        "minimumLedgerSlot": blocks.get_first_available_block,
        "getRecentPrioritizationFees": fees.get_recent_prioritization_fees,
        "getSignatureStatuses": history.get_signature_statuses,
        "getSignaturesForAddress": history.get_signatures_for_address,
        "getTransaction": history.get_transaction,
        "getBlockHeight": nodes.get_block_height,
        "getEpochInfo": nodes.get_epoch_info,
        "getEpochSchedule": nodes.get_epoch_schedule,
        "getGenesisHash": nodes.get_genesis_hash,
        "getHealth": nodes.get_health,
        "getIdentity": nodes.get_identity,
        "getLatestBlockhash": nodes.get_latest_blockhash,
        "getSlot": nodes.get_slot,
        "getSlotLeader": nodes.get_slot_leader,
        "getTransactionCount": nodes.get_transaction_count,
        "getVersion": nodes.get_version,
        "isBlockhashValid": nodes.is_blockhash_valid,
        "getFeeForMessage": sending.get_fee_for_message,
        "requestAirdrop": sending.request_airdrop,
        "sendTransaction": sending.send_transaction,
        "simulateTransaction": simulate_transaction,
        "surfnet_pauseClock": cheats.pause_clock,
        "surfnet_resumeClock": cheats.resume_clock,
        "surfnet_setAccount": cheats.set_account,
        "surfnet_setTokenAccount": cheats.set_token_account,
        "surfnet_timeTravel": cheats.time_travel,
        "surfnet_writeProgram": cheats.write_program,
    }
)
