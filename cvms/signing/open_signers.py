"""Opening of the configured signers: the scheme of each says which factory makes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import entry_points
from typing import TypeAlias

from solders.keypair import Keypair

from cvms.config.operator_settings import OperatorSource, SignerSettings, SignerUri
from cvms.errors import ConfigurationError, SignerFailed, SignerUnavailable
from cvms.signing.guarded_signer import GuardedSigner, SignerFunds
from cvms.signing.signer import Signer
from cvms.signing.signer_set import SignerSet, keypair_signer

ENTRY_POINTS = "cvms.signers"
"""Group of entry points, from a scheme to the SignerFactory of another package."""

SignerFactory: TypeAlias = Callable[
    [SignerUri, SignerSettings], AbstractAsyncContextManager[Signer]
]
"""Opens a signer. If `SignerUri.address` is set, it need not be reachable yet; otherwise its
address is asked for. Raises SignerFailed, or ConfigurationError for a location that cannot be.
"""


@asynccontextmanager
async def open_signers(
    sources: Sequence[OperatorSource], settings: SignerSettings, *, minimum: int = 0
) -> AsyncIterator[SignerSet]:
    """Open the signers, for the block. Each that can be reached has signed a fixed text.

    One that does not sign may come back later, if its address is configured. Raises
    ConfigurationError otherwise. `minimum`: lamports that a key needs to pay for others.
    """
    async with AsyncExitStack() as stack:
        signers = [
            keypair_signer(source, seconds=settings.seconds, minimum=minimum)
            if isinstance(source, Keypair)
            else await _open(stack, source, settings, minimum)
            for source in sources
        ]
        addresses = [each.address for each in signers]
        for address in addresses:
            if addresses.count(address) > 1:
                raise ConfigurationError(f"OPERATOR_SIGNER has the key {address} twice")
        yield SignerSet(tuple(signers))


async def _open(
    stack: AsyncExitStack, source: SignerUri, settings: SignerSettings, minimum: int
) -> GuardedSigner:
    factory = _factory(source.scheme)
    try:
        signer = await stack.enter_async_context(factory(source, settings))
    except SignerFailed as error:
        raise ConfigurationError(
            f"OPERATOR_SIGNER: {source.scheme}: gives no key: {error}; to start without it, append "
            "its address, as in `#<address>`"
        ) from None
    if source.address not in (None, signer.address):
        raise ConfigurationError(
            f"OPERATOR_SIGNER: {source.scheme}: has the key of {signer.address}, not of "
            f"{source.address}"
        )
    name = f"{source.scheme} {signer.address}"
    guarded = GuardedSigner(signer, name, settings.seconds, SignerFunds(minimum))
    try:
        await guarded.check()
    except SignerUnavailable as error:
        if source.address is None:
            raise ConfigurationError(
                f"OPERATOR_SIGNER: {name} does not sign: {error.reason}"
            ) from None
    return guarded


def _factory(scheme: str) -> SignerFactory:
    """Return the factory of a scheme. Raises ConfigurationError if there is none."""
    own = _own_factories()
    if scheme in own:
        return own[scheme]()
    for each in entry_points(group=ENTRY_POINTS, name=scheme):
        factory: SignerFactory = each.load()
        return factory
    known = ", ".join(["file", *own])
    raise ConfigurationError(
        f"OPERATOR_SIGNER has a signer of {scheme}:; expected one of {known}, or a scheme that an "
        f"installed package has an entry point {ENTRY_POINTS} for"
    )


def _own_factories() -> Mapping[str, Callable[[], SignerFactory]]:
    """Return what loads each factory: a file's signer must not need the library of another."""
    return {"pkcs11": _pkcs11, "vault-transit": _vault_transit}


def _pkcs11() -> SignerFactory:
    try:
        from cvms.signing.pkcs11_signer import open_pkcs11  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pkcs11":
            raise
        raise ConfigurationError(
            "a signer of pkcs11: needs the extra `pkcs11`; run `pip install 'cvms[pkcs11]'`"
        ) from None
    return open_pkcs11


def _vault_transit() -> SignerFactory:
    from cvms.signing.vault_transit import open_vault_transit  # noqa: PLC0415

    return open_vault_transit
