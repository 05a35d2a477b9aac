"""Settings of the operator: its key, what it pays for others, and what wallets may add to that."""

from __future__ import annotations

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


def operator_keypair() -> Keypair:
    """Declare the field of the operator's key."""
    return group(
        choose_operator,
        path=setting(
            "DEPLOYER_KEYPAIR_PATH",
            parse.optional(parse.keypair_file),
            default="",
            expected="the path of a Solana keypair file (a JSON array of 64 bytes)",
            about="File of the operator's key, which pays fees and signs what owners have "
            "delegated. Only its owner and its group may be able to read it. Required, unless "
            "`DEPLOYER_KEYPAIR_BASE64` is set",
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
    )


def choose_operator(path: Keypair | None, encoded: Keypair | None) -> Keypair:
    """Return the key that is set. Raises ConfigurationError unless exactly one is."""
    if path is not None and encoded is not None:
        raise ConfigurationError(
            "DEPLOYER_KEYPAIR_BASE64 is set beside DEPLOYER_KEYPAIR_PATH; expected one of them"
        )
    key = path or encoded
    if key is None:
        raise ConfigurationError(
            "DEPLOYER_KEYPAIR_PATH is not set; expected the path of a Solana keypair file (a JSON "
            "array of 64 bytes), or its bytes in base64 in DEPLOYER_KEYPAIR_BASE64"
        )
    return key
