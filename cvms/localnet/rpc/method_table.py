"""Every method's name and function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import Params
from cvms.localnet.rpc.methods import (
    accounts,
    blocks,
    cheatcodes,
    economy,
    fees,
    node_info,
    send_transaction,
    token_accounts,
    transaction_history,
    validators,
)
from cvms.localnet.rpc.methods.simulate_transaction import simulate_transaction
from cvms.localnet.types import Json

Method = Callable[[Node, Params], Json]

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "getAccountInfo": accounts.get_account_info,
        "getBalance": accounts.get_balance,
        "getMinimumBalanceForRentExemption": accounts.get_minimum_balance,
        "getMultipleAccounts": accounts.get_multiple_accounts,
        "getProgramAccounts": accounts.get_program_accounts,
        "getTokenAccountBalance": token_accounts.get_token_account_balance,
        "getTokenAccountsByDelegate": token_accounts.get_token_accounts_by_delegate,
        "getTokenAccountsByOwner": token_accounts.get_token_accounts_by_owner,
        "getTokenLargestAccounts": token_accounts.get_token_largest_accounts,
        "getTokenSupply": token_accounts.get_token_supply,
        "getBlock": blocks.get_block,
        "getBlockTime": blocks.get_block_time,
        "getBlocks": blocks.get_blocks,
        "getBlocksWithLimit": blocks.get_blocks_with_limit,
        "getFirstAvailableBlock": blocks.get_first_available_block,
        "minimumLedgerSlot": blocks.get_first_available_block,
        "getRecentPrioritizationFees": fees.get_recent_prioritization_fees,
        "getSignatureStatuses": transaction_history.get_signature_statuses,
        "getSignaturesForAddress": transaction_history.get_signatures_for_address,
        "getTransaction": transaction_history.get_transaction,
        "getAgGenesisCert": node_info.get_alpenglow_certificate,
        "getBlockHeight": node_info.get_block_height,
        "getEpochInfo": node_info.get_epoch_info,
        "getEpochSchedule": node_info.get_epoch_schedule,
        "getGenesisHash": node_info.get_genesis_hash,
        "getHealth": node_info.get_health,
        "getHighestSnapshotSlot": node_info.get_highest_snapshot_slot,
        "getMaxRetransmitSlot": node_info.get_max_retransmit_slot,
        "getMaxShredInsertSlot": node_info.get_max_shred_insert_slot,
        "getLatestBlockhash": node_info.get_latest_blockhash,
        "getSlot": node_info.get_slot,
        "getTransactionCount": node_info.get_transaction_count,
        "getVersion": node_info.get_version,
        "isBlockhashValid": node_info.is_blockhash_valid,
        "getBlockCommitment": validators.get_block_commitment,
        "getBlockProduction": validators.get_block_production,
        "getClusterNodes": validators.get_cluster_nodes,
        "getIdentity": validators.get_identity,
        "getLeaderSchedule": validators.get_leader_schedule,
        "getSlotLeader": validators.get_slot_leader,
        "getSlotLeaders": validators.get_slot_leaders,
        "getVoteAccounts": validators.get_vote_accounts,
        "getInflationGovernor": economy.get_inflation_governor,
        "getInflationRate": economy.get_inflation_rate,
        "getInflationReward": economy.get_inflation_reward,
        "getLargestAccounts": economy.get_largest_accounts,
        "getRecentPerformanceSamples": economy.get_recent_performance_samples,
        "getStakeMinimumDelegation": economy.get_stake_minimum_delegation,
        "getSupply": economy.get_supply,
        "getFeeForMessage": send_transaction.get_fee_for_message,
        "requestAirdrop": send_transaction.request_airdrop,
        "sendTransaction": send_transaction.send_transaction,
        "simulateTransaction": simulate_transaction,
        "surfnet_pauseClock": cheatcodes.pause_clock,
        "surfnet_resumeClock": cheatcodes.resume_clock,
        "surfnet_setAccount": cheatcodes.set_account,
        "surfnet_setTokenAccount": cheatcodes.set_token_account,
        "surfnet_timeTravel": cheatcodes.time_travel,
        "surfnet_writeProgram": cheatcodes.write_program,
    }
)
