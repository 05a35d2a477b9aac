"""What examples of settings in deploy/ must hold."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

import pytest
from solders.keypair import Keypair

from cvms.config.loader import load_config, load_programs
from cvms.errors import leaves
from tests.paths import ROOT

PROGRAMS = ("PROGRAM_ID", "POSITION_MANAGER_PROGRAM_ID", "YIELD_POOL_PROGRAM_ID")


def documented_settings() -> set[str]:
    """Return the settings that the README documents."""
    table = re.findall(r"^\| (`[A-Z_`, ]+`)", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    return {name for row in table for name in re.findall(r"[A-Z_]{4,}", row)}


def require_own_programs(environ: Mapping[str, str]) -> None:
    """Require that nothing starts as long as the programs are not filled in, and then it does."""
    secrets = {
        "DATABASE_URL": "postgresql://nowhere/",
        "DEPLOYER_KEYPAIR_BASE64": base64.b64encode(bytes(Keypair())).decode(),
    }
    with pytest.raises(ExceptionGroup) as refused:
        load_config(secrets | dict(environ))
    told = {str(error).split()[0] for error in leaves(refused.value)}
    assert set(PROGRAMS) == told & set(PROGRAMS)
    filled = dict(environ) | {name: str(Keypair().pubkey()) for name in PROGRAMS}
    programs = load_programs(filled)
    assert programs.mint != load_programs({}).mint
    load_config({**secrets, **filled})
