"""Features that a cluster must have activated before the programs can be deployed to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solders.pubkey import Pubkey

from cvms.chain import borsh
from cvms.chain.borsh import U64
from cvms.chain.program.accounts import owned_by
from cvms.chain.types import Account, Slot

FEATURE_PROGRAM = Pubkey.from_string("Feature111111111111111111111111111111111111")
"""The owner of feature accounts."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature by its account, with its name in Agave and the proposals that describe it."""

    address: Pubkey
    name: str
    proposals: tuple[str, ...]


REQUIRED_FEATURES = (
    Feature(
        Pubkey.from_string("5cC3foj77CWun58pC51ebHFUWavHWKarWyR5UUik7dnC"),
        "enable_sbpf_v3_deployment_and_execution",
        ("SIMD-0178", "SIMD-0189", "SIMD-0377"),
    ),
)

LIFT_CPI_CALLER_RESTRICTION = Feature(
    Pubkey.from_string("HcW8ZjBezYYgvcbxNJwqv1t484Y2556qJsfNDWvJGZRH"),
    "lift_cpi_caller_restriction",
    (),
)
"""Once active, a program can call each program of the transaction, also if it was not passed it."""


@dataclass(frozen=True, slots=True)
class _FeatureAccount:
    """The data of a feature account: an optional slot, which has its bytes even when absent."""

    active: bool
    activated_at: U64


def activation_slot(account: Account | None) -> Slot | None:
    """Return the slot since which a feature is active, None while it is not.

    `account` was fetched at the feature's address. A pending feature, which becomes active at the
    start of an epoch, is not active. Raises DecodeError if it is not a feature's account.
    """
    owned = owned_by(account, FEATURE_PROGRAM)
    if owned is None:
        return None
    feature = borsh.decode(_FeatureAccount, owned.data, trailing=False)
    return Slot(feature.activated_at) if feature.active else None


def missing_features(accounts: Sequence[Account | None]) -> tuple[Feature, ...]:
    """Return the required features that are not active, given their accounts in that order."""
    pairs = zip(REQUIRED_FEATURES, accounts, strict=True)
    return tuple(feature for feature, account in pairs if activation_slot(account) is None)
