"""`cvms signers` and `cvms audit key` with keys in several places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.cli import main
from cvms.store.security.audit_heads import AuditKey
from tests.signing.softhsm import SoftHsm, start_softhsm


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    hsm = start_softhsm(tmp_path / "hsm")
    for name, value in hsm.environ.items():
        monkeypatch.setenv(name, value)
    return hsm


def test_each_key_is_listed_with_whether_it_signs(
    hsm: SoftHsm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key, path, address = Keypair(), tmp_path / "key.json", Pubkey(hsm.make_key("operator"))
    path.write_text(json.dumps(list(bytes(key))))
    path.chmod(0o600)
    signers = f"file:{path},pkcs11:{hsm.uri('operator')}#{address}"
    monkeypatch.setenv("OPERATOR_SIGNER", signers)
    assert main(["signers"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{key.pubkey()}  file  signs",
        f"{address}  pkcs11  signs",
    ]
    assert main(["audit", "key"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        AuditKey(key.secret()).public.hex(),
        bytes(address).hex(),
    ]
    hsm.remove()
    assert main(["signers"]) == 1
    assert f"{address}  pkcs11  is away: " in capsys.readouterr().out
    monkeypatch.setenv("OPERATOR_SIGNER", f"pkcs11:{hsm.uri('operator')}")
    assert main(["signers"]) == 2
    assert "append its address" in capsys.readouterr().err
