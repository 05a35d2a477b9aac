"""`.env` gets what is missing; what is there stays unless somebody agrees to another value."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from dotenv import dotenv_values

from cvms.bootstrap.env_file import EnvFile
from cvms.config.environment import dotenv_text, parsed_dotenv
from cvms.errors import ConfigurationError, StepFailed

VALUES = {"PROGRAM_ID": "ours", "USDT_MINT": "mint"}
DEFAULTS = {"SOLANA_RPC_URL": "https://rpc.example/?api-key=it's #1 \\o/"}


def file(folder: Path, **values: str) -> EnvFile:
    return EnvFile(folder / ".env", VALUES | values, DEFAULTS)


def yes(_: str) -> bool:
    return True


def no(_: str) -> bool:
    return False


def agree(wanted: EnvFile) -> str:
    """Write with consent to everything, and return what was said."""
    said: list[str] = []
    wanted.write(wanted.agreed(ask=yes, report=said.append))
    return "\n".join(said)


def test_a_new_file_reads_as_what_was_written(tmp_path: Path) -> None:
    file(tmp_path).write()
    read = dotenv_values(tmp_path / ".env")
    assert VALUES.items() <= read.items()
    assert DEFAULTS.items() <= read.items()
    assert len(read["ADMIN_JWT_SECRET"] or "") >= 32
    assert read["DATA_ENCRYPTION_KEYS"]
    assert "# DATABASE_URL=" in (tmp_path / ".env").read_text()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_a_second_time_there_is_nothing_to_write(tmp_path: Path) -> None:
    file(tmp_path).write()
    assert file(tmp_path).step(ask=no, report=print).actions == ()


def test_what_is_there_stays_with_its_comments(tmp_path: Path) -> None:
    text = "# ours\nSOLANA_RPC_URL=http://other\nADMIN_JWT_SECRET=old\nDATABASE_URL=db\nPORT=1"
    (tmp_path / ".env").write_text(text)
    file(tmp_path).write()
    assert (tmp_path / ".env").read_text().startswith(f"{text}\nPROGRAM_ID=ours\n")


def test_another_value_is_shown_and_nothing_is_done_without_consent(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROGRAM_ID=theirs\n")
    said: list[str] = []
    step = file(tmp_path).step(ask=no, report=said.append)
    assert step.before is not None
    with pytest.raises(StepFailed, match="has another PROGRAM_ID"):
        step.before()
    assert "PROGRAM_ID is theirs, and this deployment's is ours" in said[0]
    assert (tmp_path / ".env").read_text() == "PROGRAM_ID=theirs\n"


def test_a_value_that_has_changed_since_the_question_stays(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROGRAM_ID=theirs\n")
    with pytest.raises(StepFailed, match="has another PROGRAM_ID"):
        file(tmp_path).write()
    assert (tmp_path / ".env").read_text() == "PROGRAM_ID=theirs\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("PORT=1\nexport PROGRAM_ID = theirs\n# end\n", "PORT=1\nPROGRAM_ID=ours\n# end\n"),
        ("PROGRAM_ID=theirs\r\nPORT=1\r\n", "PROGRAM_ID=ours\r\nPORT=1\r\n"),
        ("PROGRAM_ID=a\nPROGRAM_ID=b\n", "PROGRAM_ID=ours\nPROGRAM_ID=ours\n"),
        ("PROGRAM_ID='theirs' # note\n", "PROGRAM_ID=ours\n"),
        ("'PROGRAM_ID'=theirs\n", "'PROGRAM_ID'=theirs\n"),  # the last one counts
    ],
    ids=["export", "CRLF", "twice", "quotes", "quoted name"],
)
def test_another_value_is_replaced_in_its_place_with_consent(
    tmp_path: Path, before: str, after: str
) -> None:
    (tmp_path / ".env").write_bytes(before.encode())
    agree(file(tmp_path))
    assert (tmp_path / ".env").read_bytes().decode().startswith(after)
    assert dotenv_values(tmp_path / ".env")["PROGRAM_ID"] == "ours"


def test_a_secret_that_differs_is_not_shown(tmp_path: Path) -> None:
    text = "DATABASE_URL=postgresql://me:first@host/db\nSOLANA_RPC_URL=http://host/first\n"
    (tmp_path / ".env").write_text(text)
    said = agree(
        file(
            tmp_path,
            DATABASE_URL="postgresql://me:second@host/db",
            SOLANA_RPC_URL="http://host/second",
        )
    )
    assert "DATABASE_URL" in said
    assert "SOLANA_RPC_URL" in said
    assert "first" not in said
    assert "second" not in said


def test_endpoints_beside_the_named_one_are_no_difference(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SOLANA_RPC_URL=http://a, http://b\n")
    file(tmp_path, SOLANA_RPC_URL="http://b").write()
    with pytest.raises(StepFailed, match="has another SOLANA_RPC_URL"):
        file(tmp_path, SOLANA_RPC_URL="http://c").write()


def test_a_byte_order_mark_hides_no_setting(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfADMIN_JWT_SECRET=old\n")
    file(tmp_path).write()
    assert (tmp_path / ".env").read_text().count("ADMIN_JWT_SECRET") == 1


def test_no_secret_is_made_beside_those_with_names(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ADMIN_JWT_SECRETS=2027-01:old\n")
    file(tmp_path).write()
    assert "ADMIN_JWT_SECRET" not in dotenv_values(tmp_path / ".env")


def test_a_value_that_would_be_read_as_another_one_is_refused(tmp_path: Path) -> None:
    wanted = file(tmp_path, DATABASE_URL="postgresql://me:a${b}c@host/db")
    with pytest.raises(ConfigurationError, match="cannot hold this DATABASE_URL") as refused:
        wanted.step(ask=no, report=print)
    assert "a$" not in str(refused.value)
    plain = file(tmp_path, DATABASE_URL="postgresql://me:a$b c@host/db")
    plain.step(ask=no, report=print)
    plain.write()
    assert parsed_dotenv(dotenv_text(tmp_path / ".env"))["DATABASE_URL"].endswith("a$b c@host/db")


def test_a_place_where_nothing_can_be_written_is_refused_before(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / ".env"):
        with pytest.raises(ConfigurationError, match="--env-file"):
            EnvFile(path, VALUES, DEFAULTS).step(ask=no, report=print)


def test_a_link_and_the_group_that_may_read_stay(tmp_path: Path) -> None:
    real = tmp_path / "etc"
    real.write_text("PORT=1\n")
    real.chmod(0o640)
    (tmp_path / ".env").symlink_to(real)
    file(tmp_path).write()
    assert (tmp_path / ".env").is_symlink()
    assert "PROGRAM_ID=ours" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    real.chmod(0o644)
    file(tmp_path).write()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


@pytest.mark.parametrize("other", ["OPERATOR_SIGNER", "DEPLOYER_KEYPAIR_BASE64"])
def test_an_operators_key_that_is_named_otherwise_is_not_named_twice(
    tmp_path: Path, other: str
) -> None:
    (tmp_path / ".env").write_text(f"{other}=elsewhere\n")
    named = EnvFile(tmp_path / ".env", VALUES, {"DEPLOYER_KEYPAIR_PATH": "keys/operator.json"})
    named.write()
    assert "DEPLOYER_KEYPAIR_PATH" not in dotenv_values(tmp_path / ".env")
