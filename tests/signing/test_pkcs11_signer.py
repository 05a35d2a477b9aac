"""A key in SoftHSM 2 signs; the token is removed and comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from solders.pubkey import Pubkey
from structlog.testing import capture_logs

from cvms.config.operator_settings import SignerSettings, SignerUri
from cvms.errors import ConfigurationError, SignerFailed, SignerUnavailable
from cvms.signing.open_signers import open_signers
from cvms.signing.pkcs11_signer import Pkcs11Signer, open_pkcs11
from tests.signing.softhsm import PIN, SoftHsm

SETTINGS = SignerSettings(seconds=60)


@asynccontextmanager
async def opened(location: str, address: Pubkey | None = None) -> AsyncIterator[Pkcs11Signer]:
    async with open_pkcs11(SignerUri("pkcs11", location, address), SETTINGS) as signer:
        yield signer


async def test_a_key_in_the_token_signs_and_its_address_is_read_from_it(hsm: SoftHsm) -> None:
    public = hsm.make_key("operator")
    async with opened(hsm.uri("operator")) as signer:
        assert bytes(signer.address) == public
        signature = await signer.sign(b"text")
        assert signature.verify(signer.address, b"text")
        assert await signer.sign(b"text") == signature


async def test_a_token_that_was_removed_is_found_again_when_it_is_back(hsm: SoftHsm) -> None:
    hsm.make_key("operator")
    async with opened(hsm.uri("operator")) as signer:
        before = await signer.sign(b"text")
        hsm.remove()
        for _ in range(2):
            with pytest.raises(SignerFailed):
                await signer.sign(b"text")
        hsm.put_back()
        assert await signer.sign(b"text") == before


async def test_a_service_can_start_while_the_token_is_away_if_its_address_is_known(
    hsm: SoftHsm,
) -> None:
    address = Pubkey(hsm.make_key("operator"))
    location = hsm.uri("operator")
    hsm.remove()
    with pytest.raises(ConfigurationError, match="append its address"):
        async with open_signers([SignerUri("pkcs11", location)], SETTINGS):
            pass
    async with open_signers([SignerUri("pkcs11", location, address)], SETTINGS) as found:
        [signer] = found.signers
        assert (signer.address, signer.available) == (address, False)
        assert "tokens are as the URI says" in (signer.away_because or "")
        hsm.put_back()
        while not signer.available:
            try:
                await signer.check()
            except SignerUnavailable:
                continue  # the circuit lets nobody through for a second
        assert signer.deterministic


async def test_two_keys_of_one_token_sign_beside_each_other(hsm: SoftHsm) -> None:
    first, second = hsm.make_key("first"), hsm.make_key("second")
    sources = [SignerUri("pkcs11", hsm.uri(each)) for each in ("first", "second")]
    async with open_signers(sources, SETTINGS) as found:
        assert [bytes(each) for each in found.addresses] == [first, second]
        hsm.remove()
        hsm.put_back()
        for each in (*found.signers, *found.signers):
            assert (await each.sign(b"text")).verify(each.address, b"text")


async def test_another_key_than_the_configured_one_is_never_used(hsm: SoftHsm) -> None:
    hsm.make_key("operator")
    other = Pubkey.new_unique()
    async with open_signers([SignerUri("pkcs11", hsm.uri("operator"), other)], SETTINGS) as found:
        assert not found.preferred.available
        assert f"not one of {other}" in (found.preferred.away_because or "")


async def test_a_refused_pin_is_tried_once_and_never_shown(hsm: SoftHsm) -> None:
    """Most tokens lock themselves after a few wrong ones."""
    hsm.make_key("operator")
    async with opened(hsm.uri("operator"), Pubkey.new_unique()) as signer:
        hsm.pin_file.write_text("wrong PIN")
        with capture_logs() as logs:
            with pytest.raises(SignerFailed, match="PinIncorrect") as first:
                await signer.sign(b"text")
            with pytest.raises(SignerFailed, match="not tried again") as second:
                await signer.sign(b"text")
            hsm.pin_file.write_text(PIN)
            await signer.sign(b"text")
    shown = f"{first.value} {second.value} {logs} {signer!r}"
    assert "wrong PIN" not in shown
    assert PIN not in shown


@pytest.mark.parametrize("pin", ["wrong PIN", "1"])
async def test_a_pin_that_one_key_was_refused_with_is_not_tried_for_another(
    hsm: SoftHsm, pin: str
) -> None:
    """The token counts for both. A PIN of a wrong length counts too."""
    addresses = [Pubkey(hsm.make_key(each)) for each in ("first", "second")]
    hsm.pin_file.write_text(pin)
    async with (
        opened(hsm.uri("first"), addresses[0]) as first,
        opened(hsm.uri("second"), addresses[1]) as second,
    ):
        with pytest.raises(SignerFailed, match=r"^Pin") as raised:
            await first.sign(b"text")
        assert "not tried again" not in str(raised.value)
        for each in (first, second):
            with pytest.raises(SignerFailed, match="not tried again"):
                await each.sign(b"text")
        hsm.pin_file.write_text(PIN)
        for each in (first, second):
            await each.sign(b"text")


async def test_a_pin_in_the_setting_works_with_a_warning_that_does_not_show_it(
    hsm: SoftHsm,
) -> None:
    hsm.make_key("operator")
    location = hsm.uri("operator", pin=f"pin-value={PIN.replace(' ', '%20')}")
    with capture_logs() as logs:
        async with opened(location) as signer:
            await signer.sign(b"text")
    assert [each["event"] for each in logs] == ["pin_in_setting"]
    assert "74-31" not in str(logs)


async def test_a_key_that_is_not_there_is_said(hsm: SoftHsm) -> None:
    hsm.make_key("operator")
    with pytest.raises(SignerFailed, match="0 such private keys"):
        async with opened(hsm.uri("other")):
            pass
    with pytest.raises(SignerFailed, match="cannot open shared object file"):
        async with opened("object=key?module-path=/nowhere/hsm.so"):
            pass
