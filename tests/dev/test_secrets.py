"""`cvms dev` makes its own secrets, and `cvms token` uses them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cvms.bootstrap.env_file import MAKERS
from cvms.cli import main
from cvms.dev.secrets import make_secrets, with_secrets
from cvms.http.framework.admin_tokens import authenticate
from cvms.store.security.encryption import SecretBox


def test_each_unset_secret_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    settings = with_secrets({"ADMIN_JWT_SECRET": "", "PORT": "1"}, tmp_path)
    assert settings.keys() == {*MAKERS, "PORT"}
    assert len(settings["ADMIN_JWT_SECRET"]) >= 32
    keys = settings["DATA_ENCRYPTION_KEYS"].encode()
    assert SecretBox([keys]).open(SecretBox([keys]).seal(b"x", about="y"), about="y") == b"x"
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    make_secrets(tmp_path)
    assert with_secrets({}, tmp_path).items() <= settings.items()


def test_secrets_that_are_set_are_kept(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    given = dict.fromkeys(MAKERS, "x" * 32)
    assert with_secrets(given, tmp_path) == given


def test_two_machines_have_different_secrets(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_secrets(tmp_path / name)
    one, two = (with_secrets({}, tmp_path / name) for name in ("one", "two"))
    assert all(one[name] != two[name] for name in MAKERS)


def test_a_draft_file_readable_by_others_is_replaced(tmp_path: Path) -> None:
    draft = tmp_path / ".admin_jwt_secret.new"
    draft.write_text("left over")
    draft.chmod(0o666)
    make_secrets(tmp_path)
    kept = tmp_path / "admin_jwt_secret"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text() != "left over"


def test_a_token_is_minted_with_the_secret_in_the_data_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ADMIN_JWT_SECRET", raising=False)
    make_secrets(tmp_path / "data")
    assert main(["token", "carol", "--data-dir", "data"]) == 0
    token = capsys.readouterr().out.strip()
    secret = with_secrets({}, tmp_path / "data")["ADMIN_JWT_SECRET"]
    assert authenticate(secret.encode(), f"Bearer {token}").subject == "carol"
    assert secret not in token
    monkeypatch.setenv("ADMIN_JWT_SECRET", "t" * 32)
    assert main(["token", "carol", "--data-dir", "data"]) == 0
    assert authenticate(b"t" * 32, f"Bearer {capsys.readouterr().out.strip()}").subject == "carol"
