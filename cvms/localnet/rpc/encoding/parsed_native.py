"""`jsonParsed` accounts of the built-in programs: sysvars, programs, nonces, lookup tables.

(`parse_sysvar.rs`, `parse_bpf_loader.rs`, `parse_nonce.rs`, `parse_address_lookup_table.rs`.)
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from solana.constants import BPF_LOADER_PROGRAM_ID, SYSTEM_PROGRAM_ID
from solders import sysvar
from solders.account import Account
from solders.address_lookup_table_account import ID as LOOKUP_TABLES
from solders.hash import Hash
from solders.pubkey import Pubkey

from cvms.localnet.ledger.account_versions import SYSVARS
from cvms.localnet.types import Json

SLOT_HISTORY_ENTRIES = 1024 * 1024
NONCE_LENGTH = 80
LOOKUP_TABLE_HEADER = 56
EPOCH_REWARDS = "<QQ32s16sQQ?"


def parse_native(key: Pubkey, account: Account) -> Json:
    """Return the parsed form of an account of a built-in program, or None."""
    data = bytes(account.data)
    try:
        match account.owner:
            case owner if owner == SYSVARS:
                program, parsed = "sysvar", _sysvar(key, data)
            case owner if owner == BPF_LOADER_PROGRAM_ID:
                program, parsed = "bpf-upgradeable-loader", _loader(data)
            case owner if owner == SYSTEM_PROGRAM_ID:
                program, parsed = "nonce", _nonce(data)
            case owner if owner == LOOKUP_TABLES:
                program, parsed = "address-lookup-table", _lookup_table(data)
            case _:
                return None
    except struct.error:  # too short
        return None
    if parsed is None:
        return None
    return {"program": program, "parsed": parsed, "space": len(data)}


# --- sysvars -----------------------------------------------------------------------------------


def _sysvar(key: Pubkey, data: bytes) -> Json:
    if (known := SYSVAR_KINDS.get(key)) is None:
        return None
    kind, read = known
    return {"type": kind, "info": read(data)}


def _clock(data: bytes) -> Json:
    slot, start, epoch, leader_epoch, now = struct.unpack_from("<QqQQq", data)
    return {
        "slot": slot,
        "epoch": epoch,
        "epochStartTimestamp": start,
        "leaderScheduleEpoch": leader_epoch,
        "unixTimestamp": now,
    }


def _epoch_schedule(data: bytes) -> Json:
    slots, offset, warmup, epoch, slot = struct.unpack_from("<QQ?QQ", data)
    return {
        "slotsPerEpoch": slots,
        "leaderScheduleSlotOffset": offset,
        "warmup": warmup,
        "firstNormalEpoch": epoch,
        "firstNormalSlot": slot,
    }


def _rent(data: bytes) -> Json:
    per_year, years = struct.unpack_from("<Qd", data)
    return {"lamportsPerByte": str(int(per_year * years))}


def _fees(data: bytes) -> Json:
    return {"feeCalculator": _fee_calculator(struct.unpack_from("<Q", data)[0])}


def _recent_blockhashes(data: bytes) -> Json:
    return [
        {"blockhash": _hash(blockhash), "feeCalculator": _fee_calculator(fee)}
        for blockhash, fee in _entries("<32sQ", data)
    ]


def _slot_hashes(data: bytes) -> Json:
    return [{"slot": slot, "hash": _hash(digest)} for slot, digest in _entries("<Q32s", data)]


def _slot_history(data: bytes) -> Json:
    bits = int.from_bytes(data[9 : 9 + SLOT_HISTORY_ENTRIES // 8], "little")
    next_slot = struct.unpack("<Q", data[-8:])[0]
    return {"nextSlot": next_slot, "bits": f"{bits:0{SLOT_HISTORY_ENTRIES}b}"[::-1]}


def _stake_history(data: bytes) -> Json:
    names = ("effective", "activating", "deactivating")
    return [
        {"epoch": epoch, "stakeHistory": dict(zip(names, stakes, strict=True))}
        for epoch, *stakes in _entries("<QQQQ", data)
    ]


def _last_restart_slot(data: bytes) -> Json:
    return {"lastRestartSlot": struct.unpack_from("<Q", data)[0]}


def _epoch_rewards(data: bytes) -> Json:
    height, partitions, parent, points, total, distributed, active = struct.unpack_from(
        EPOCH_REWARDS, data
    )
    return {
        "distributionStartingBlockHeight": height,
        "numPartitions": partitions,
        "parentBlockhash": _hash(parent),
        "totalPoints": str(int.from_bytes(points, "little")),
        "totalRewards": str(total),
        "distributedRewards": str(distributed),
        "active": active,
    }


SYSVAR_KINDS: Mapping[Pubkey, tuple[str, Callable[[bytes], Json]]] = MappingProxyType(
    {
        sysvar.CLOCK: ("clock", _clock),
        sysvar.EPOCH_SCHEDULE: ("epochSchedule", _epoch_schedule),
        Pubkey.from_string("SysvarFees111111111111111111111111111111111"): ("fees", _fees),
        sysvar.RECENT_BLOCKHASHES: ("recentBlockhashes", _recent_blockhashes),
        sysvar.RENT: ("rent", _rent),
        sysvar.SLOT_HASHES: ("slotHashes", _slot_hashes),
        Pubkey.from_string("SysvarS1otHistory11111111111111111111111111"): (
            "slotHistory",
            _slot_history,
        ),
        sysvar.STAKE_HISTORY: ("stakeHistory", _stake_history),
        Pubkey.from_string("SysvarLastRestartS1ot1111111111111111111111"): (
            "lastRestartSlot",
            _last_restart_slot,
        ),
        Pubkey.from_string("SysvarEpochRewards1111111111111111111111111"): (
            "epochRewards",
            _epoch_rewards,
        ),
    }
)


# --- programs, nonces, lookup tables -----------------------------------------------------------


def _loader(data: bytes) -> Json:
    match struct.unpack_from("<I", data)[0]:
        case 0:
            return {"type": "uninitialized"}
        case 1:
            authority, code = _authority(data, 4)
            info = {"authority": authority, "data": _base64(code)}
            return {"type": "buffer", "info": info}
        case 2:
            return {"type": "program", "info": {"programData": _key(data[4:36])}}
        case 3:
            slot = struct.unpack_from("<Q", data, 4)[0]
            authority, code = _authority(data, 12)
            info = {"slot": slot, "authority": authority, "data": _base64(code)}
            return {"type": "programData", "info": info}
        case _:
            return None


def _authority(data: bytes, offset: int) -> tuple[str | None, bytes]:
    """Return an optional authority, and what follows it."""
    if data[offset : offset + 1] == b"\1":
        return _key(data[offset + 1 : offset + 33]), data[offset + 33 :]
    return None, data[offset + 1 :]


def _nonce(data: bytes) -> Json:
    if len(data) != NONCE_LENGTH:
        return None
    state, authority, blockhash, fee = struct.unpack_from("<4xI32s32sQ", data)
    if state != 1:
        return None
    info = {
        "authority": _key(authority),
        "blockhash": _hash(blockhash),
        "feeCalculator": _fee_calculator(fee),
    }
    return {"type": "initialized", "info": info}


def _lookup_table(data: bytes) -> Json:
    state, deactivated, extended, start, has_authority, authority = struct.unpack_from(
        "<IQQB?32s", data
    )
    if state == 0:
        return {"type": "uninitialized"}
    addresses = data[LOOKUP_TABLE_HEADER:]
    info = {
        "deactivationSlot": str(deactivated),
        "lastExtendedSlot": str(extended),
        "lastExtendedSlotStartIndex": start,
        **({"authority": _key(authority)} if has_authority else {}),
        "addresses": [_key(addresses[at : at + 32]) for at in range(0, len(addresses), 32)],
    }
    return {"type": "lookupTable", "info": info}


def _entries(layout: str, data: bytes) -> list[tuple[Json, ...]]:
    """Return the entries of an array that its length precedes."""
    count, size = struct.unpack_from("<Q", data)[0], struct.calcsize(layout)
    return [struct.unpack_from(layout, data, 8 + index * size) for index in range(count)]


def _fee_calculator(lamports: int) -> Json:
    return {"lamportsPerSignature": str(lamports)}


def _base64(data: bytes) -> Json:
    return [base64.b64encode(data).decode(), "base64"]


def _hash(data: bytes) -> str:
    return str(Hash.from_bytes(data))


def _key(data: bytes) -> str:
    return str(Pubkey.from_bytes(data))
