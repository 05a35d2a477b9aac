"""The examples of docs/client.md work, and the package is typed and self-contained."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair

import cvms
from cvms.client import Wallet, open_client
from tests.harness.service import Served
from tests.http.wallets import USDT, funded
from tests.paths import DOCS

DOCUMENT = DOCS / "client.md"


def example(number: int) -> Any:
    code = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(code[number], str(DOCUMENT), "exec"), names)
    return names["main"]


async def test_the_examples_of_the_document_run(
    system: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    keypair = await funded(system)
    wallet = Wallet(keypair)
    with trio.fail_after(60):
        async with open_client(system.url, wallet=wallet) as client:
            await client.finish(await client.open_vault())
        await example(0)(system.url, keypair)
        assert f"'amount': {25 * USDT}" in _said(capsys)
        await trio.to_thread.run_sync(asyncio.run, example(1)(system.url, keypair))
        assert "withdrew in slot " in _said(capsys)
        await trio.to_thread.run_sync(asyncio.run, example(1)(system.url, Keypair()))
        assert "404 vault_not_found" in _said(capsys)


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_the_client_is_typed_and_brings_nothing_of_the_service() -> None:
    package = Path(cvms.__file__).parent
    assert (package / "py.typed").exists()
    program = "import sys, cvms.client; print(*(n for n in sys.modules if n.startswith('cvms')))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    others = [name for name in loaded.stdout.decode().split() if name != "cvms"]
    assert others
    assert all(name.startswith("cvms.client") for name in others), others
