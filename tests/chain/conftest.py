"""Program ids of the local chain and of the sample settings."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey

from cvms.chain.types import POSITION_MANAGER_PROGRAM, USDT_MINT, VAULT_PROGRAM, Programs


@pytest.fixture
def programs() -> Programs:
    return Programs(
        vault=Pubkey.from_string(VAULT_PROGRAM),
        position_manager=Pubkey.from_string(POSITION_MANAGER_PROGRAM),
        mint=Pubkey.from_string(USDT_MINT),
    )
