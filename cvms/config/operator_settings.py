"""Settings of the operator: its keys, what it pays for others, and what wallets may add to that."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.config import parsers as parse
from cvms.config.fields import group, setting, settings_class
from cvms.errors import BadValue, ConfigurationError

LIGHTHOUSE = "L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95"
"""Source: the Lighthouse repository, `clients/rust/src/generated/programs.rs`."""
NEVER_GUARDS = frozenset(
    {
        "11111111111111111111111111111111",
        "AddressLookupTab1e1111111111111111111111111",
        "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL",
        "BPFLoader1111111111111111111111111111111111",
        "BPFLoader2111111111111111111111111111111111",
        "BPFLoaderUpgradeab1e11111111111111111111111",
        "ComputeBudget111111111111111111111111111111",
        "Config1111111111111111111111111111111111111",
        "LoaderV411111111111111111111111111111111111",
        "Stake11111111111111111111111111111111111111",
        "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
        "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb",
        "Vote111111111111111111111111111111111111111",
    }
)
"""Programs that move SOL or tokens, or own accounts of all kinds: they guard nothing."""

_LAMPORTS = "a whole number of lamports, 0 or more"
_LAMPORTS_OR_OFF = "a whole number of lamports, 0 or more, or off"

_lamports = parse.integer(0, 2**62 - 1)


def _guard_program(raw: str) -> Pubkey:
    if raw in NEVER_GUARDS:
        raise BadValue(f"{raw} moves SOL or tokens, which is no guard")
    return Pubkey.from_string(raw)


@settings_class
class Sponsoring:
    """Limits of the fees that the operator pays for owners. None is no limit."""

    transaction: int = setting(
        "MAX_FEE_LAMPORTS",
        _lamports,
        default="100000",
        expected=_LAMPORTS,
        about="Highest fee of one transaction, whatever the market pays",
    )
    unit_price: int = setting(
        "MAX_COMPUTE_UNIT_PRICE",
        _lamports,
        default="100000",
        expected="a whole number of micro-lamports",
        about="Highest price of one compute unit in micro-lamports, whatever the market pays",
    )
    owner_a_day: int | None = setting(
        "SPONSOR_OWNER_LAMPORTS_PER_DAY",
        parse.unless_off(_lamports),
        default="50000000",
        expected=_LAMPORTS_OR_OFF,
        about="Fees that the operator pays for one owner in a day (UTC); `off` is no limit",
    )
    everybody_a_day: int | None = setting(
        "SPONSOR_TOTAL_LAMPORTS_PER_DAY",
        parse.unless_off(_lamports),
        default="5000000000",
        expected=_LAMPORTS_OR_OFF,
        about="Fees that the operator pays for all owners together in a day (UTC); "
        "`off` is no limit",
    )
    operator_minimum: int = setting(
        "OPERATOR_MIN_LAMPORTS",
        _lamports,
        default="50000000",
        expected=_LAMPORTS,
        about="With a lower balance the operator pays only for its own transactions: "
        "owners pay and sign theirs",
    )
    guard_programs: tuple[Pubkey, ...] = setting(
        "WALLET_GUARD_PROGRAMS",
        parse.comma_separated(_guard_program),
        default=LIGHTHOUSE,
        expected="base58 public keys of programs, separated by commas, or empty",
        about="Programs of which wallets may add instructions to what they sign, separated by "
        "commas: [docs/http.md](docs/http.md). The default is Lighthouse; empty is none",
    )


@dataclass(frozen=True, slots=True)
class SignerUri:
    """Where a key of the operator is: `scheme:location`, and the address that it must have.

    The location may hold a PIN, so nothing prints it.
    """

    scheme: str
    location: str = field(repr=False)
    address: Pubkey | None = None


OperatorSource: TypeAlias = Keypair | SignerUri
"""A key of the operator, or where it is."""

_SIGNER = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*):(?P<location>[^#]+)(#(?P<address>.*))?")


def signer(raw: str) -> OperatorSource:
    """Return the key of a `file:`, or where the key is otherwise. Raises BadValue."""
    found = _SIGNER.fullmatch(raw)
    if found is None:
        raise BadValue("a signer is not of the form scheme:location, or scheme:location#address")
    scheme, location = found["scheme"], found["location"]
    try:
        address = Pubkey.from_string(found["address"]) if found["address"] is not None else None
    except ValueError:
        raise BadValue(f"what follows # in a signer of {scheme}: is not an address") from None
    if scheme != "file":
        return SignerUri(scheme, location, address)
    try:
        keypair = parse.keypair_file(location)
    except ValueError as error:
        raise BadValue(f"file:{location}: {error}") from None
    if address not in (None, keypair.pubkey()):
        raise BadValue(f"file:{location} holds the key of {keypair.pubkey()}, not of {address}")
    return keypair


@settings_class
class SignerSettings:
    """What the signers of OPERATOR_SIGNER have in common."""

    seconds: float = setting(
        "OPERATOR_SIGNER_SECONDS",
        parse.seconds,
        default="3",
        expected="seconds, above 0",
        about="How long a signature of a signer in `OPERATOR_SIGNER` may take",
    )
    vault_token: str | None = setting(
        "VAULT_TOKEN",
        parse.optional(parse.header_value),
        default="",
        expected="a token of Vault or OpenBao, or unset",
        about="Token for signers of `vault-transit:` that name no `token-file`",
        secret=True,
    )


def operator_sources() -> tuple[OperatorSource, ...]:
    """Declare the field of the operator's keys, the one that pays first."""
    return group(
        choose_operator,
        path=setting(
            "DEPLOYER_KEYPAIR_PATH",
            parse.optional(parse.keypair_file),
            default="",
            expected="the path of a Solana keypair file (a JSON array of 64 bytes)",
            about="File of the operator's key, which pays fees and signs what owners have "
            "delegated. Only its owner and its group may be able to read it. Required, unless "
            "`DEPLOYER_KEYPAIR_BASE64` or `OPERATOR_SIGNER` is set",
        ),
        encoded=setting(
            "DEPLOYER_KEYPAIR_BASE64",
            parse.optional(parse.keypair_text),
            default="",
            expected="the 64 bytes of a Solana keypair in base64",
            about="The same key itself, as 64 bytes in base64, where there is no file. "
            "Either this or `DEPLOYER_KEYPAIR_PATH`",
            secret=True,
        ),
        signers=setting(
            "OPERATOR_SIGNER",
            parse.comma_separated(signer),
            default="",
            expected="signers such as file:/path or pkcs11:token=…;object=…?module-path=…, "
            "separated by commas, or unset",
            about="Where the operator's keys are, instead of the two above: `file:`, `pkcs11:` or "
            "`vault-transit:`, separated by commas; the first pays, the others stand by: "
            "[docs/operations/keys.md](docs/operations/keys.md)",
            secret=True,
        ),
    )


def choose_operator(
    path: Keypair | None, encoded: Keypair | None, signers: tuple[OperatorSource, ...]
) -> tuple[OperatorSource, ...]:
    """Return the keys that are set. Raises ConfigurationError unless one setting has them."""
    if path is not None and encoded is not None:
        raise ConfigurationError(
            "DEPLOYER_KEYPAIR_BASE64 is set beside DEPLOYER_KEYPAIR_PATH; expected one of them"
        )
    key = path or encoded
    if key is not None and signers:
        name = "DEPLOYER_KEYPAIR_PATH" if path is not None else "DEPLOYER_KEYPAIR_BASE64"
        raise ConfigurationError(f"OPERATOR_SIGNER is set beside {name}; expected one of them")
    if key is not None:
        return (key,)
    if not signers:
        raise ConfigurationError(
            "DEPLOYER_KEYPAIR_PATH is not set; expected the path of a Solana keypair file (a JSON "
            "array of 64 bytes), or its bytes in base64 in DEPLOYER_KEYPAIR_BASE64, or a signer in "
            "OPERATOR_SIGNER"
        )
    return signers
