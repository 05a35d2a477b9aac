"""The operator's keys: where they are, who signs with them, and for what.

Other packages add signers by an entry point of the group `cvms.signers`: docs/operations/keys.md.
"""

from cvms.config.operator_settings import SignerSettings, SignerUri
from cvms.errors import SignerFailed
from cvms.signing.signer import Signer

__all__ = ["Signer", "SignerFailed", "SignerSettings", "SignerUri"]
