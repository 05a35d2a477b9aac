"""Settings of the operator's key, which is in a file or in the environment."""

from __future__ import annotations

from solders.keypair import Keypair

from cvms.config import parsers as parse
from cvms.config.fields import group, setting
from cvms.errors import ConfigurationError


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
