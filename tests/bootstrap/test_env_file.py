"""`.env` gets what is missing; what is there stays unless somebody agrees to another value."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from dotenv import dotenv_values

from cvms.bootstrap.env_file import EnvFile
from cvms.errors import StepFailed

VALUES = {"PROGRAM_ID": "ours", "USDT_MINT": "mint"}
DEFAULTS = {"SOLANA_RPC_URL": "https://rpc.example/?api-key=it's #1 \\o/"}


def file(folder: Path, **values: str) -> EnvFile:
    return EnvFile(folder / ".env", VALUES | values, DEFAULTS)


def yes(_: str) -> bool:
    return True


def no(_: str) -> bool:
    return False


def test_a_new_file_reads_as_what_was_written(tmp_path: Path) -> None:
    file(tmp_path).write(ask=no, report=print)
    read = dotenv_values(tmp_path / ".env")
    assert VALUES.items() <= read.items()
    assert DEFAULTS.items() <= read.items()
    assert len(read["ADMIN_JWT_SECRET"] or "") >= 32
    assert read["DATA_ENCRYPTION_KEYS"]
    assert "# DATABASE_URL=" in (tmp_path / ".env").read_text()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_a_second_time_there_is_nothing_to_write(tmp_path: Path) -> None:
    file(tmp_path).write(ask=no, report=print)
    assert file(tmp_path).step(ask=no, report=print).actions == ()


def test_what_is_there_stays_with_its_comments(tmp_path: Path) -> None:
    text = "# ours\nSOLANA_RPC_URL=http://other\nADMIN_JWT_SECRET=old\nDATABASE_URL=db\nPORT=1"
    (tmp_path / ".env").write_text(text)
    file(tmp_path).write(ask=no, report=print)
    assert (tmp_path / ".env").read_text().startswith(f"{text}\nPROGRAM_ID=ours\n")


def test_another_value_is_shown_and_stays_without_consent(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROGRAM_ID=theirs\n")
    said: list[str] = []
    with pytest.raises(StepFailed, match="keeps another PROGRAM_ID"):
        file(tmp_path).write(ask=no, report=said.append)
    assert "PROGRAM_ID is theirs, and this deployment's is ours" in said[0]
    assert dotenv_values(tmp_path / ".env")["PROGRAM_ID"] == "theirs"
    assert dotenv_values(tmp_path / ".env")["USDT_MINT"] == "mint", "what is missing is written"


def test_another_value_is_replaced_in_its_place_with_consent(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\nexport PROGRAM_ID = theirs\n# end\n")
    file(tmp_path).write(ask=yes, report=print)
    assert (tmp_path / ".env").read_text().startswith("PORT=1\nPROGRAM_ID=ours\n# end\n")


def test_a_secret_that_differs_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://me:first@host/db\n")
    said: list[str] = []
    wanted = file(tmp_path, DATABASE_URL="postgresql://me:second@host/db")
    wanted.write(ask=yes, report=said.append)
    assert "DATABASE_URL" in said[0]
    assert "first" not in said[0]
    assert "second" not in said[0]


@pytest.mark.parametrize("other", ["OPERATOR_SIGNER", "DEPLOYER_KEYPAIR_BASE64"])
def test_an_operators_key_that_is_named_otherwise_is_not_named_twice(
    tmp_path: Path, other: str
) -> None:
    (tmp_path / ".env").write_text(f"{other}=elsewhere\n")
    named = EnvFile(tmp_path / ".env", VALUES, {"DEPLOYER_KEYPAIR_PATH": "keys/operator.json"})
    named.write(ask=no, report=print)
    assert "DEPLOYER_KEYPAIR_PATH" not in dotenv_values(tmp_path / ".env")
