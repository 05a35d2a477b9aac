"""What wallets' own libraries sign for a text is accepted, and nothing that says something else."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import AdvanceNonceAccountParams, advance_nonce_account

from cvms.errors import InvalidSignature
from cvms.http.auth.offchain_message import V0, V1
from cvms.http.auth.proof_transaction import DEAD_BLOCK_HASHES, MEMO_PROGRAMS, proof_messages
from cvms.http.auth.siws import check_message
from cvms.http.auth.wallet_message import signed_forms
from cvms.http.auth.wallet_signature import verify
from tests.http.auth.sign_in import ALLOWED
from tests.paths import ROOT

RECORDED: dict[str, Any] = json.loads(
    (ROOT / "tests" / "http" / "auth" / "wallet_messages.json").read_text()
)
VECTORS: dict[str, dict[str, str]] = {each["form"]: each for each in RECORDED["vectors"]}
OWNER = Keypair.from_seed(bytes([7] * 32))
ADDRESS, TEXT, SIGN_IN = OWNER.pubkey(), RECORDED["text"], RECORDED["sign_in"]
NOW = datetime(2027, 1, 31, 12, 0, tzinfo=UTC)


def accept(message: str | None, signature: str, *, text: str = TEXT) -> None:
    """Raise InvalidSignature unless this proves that the owner has signed the text."""

    def check_sign_in(shown: str) -> None:
        nonce = RECORDED["nonce"]
        check_message(shown, ALLOWED, signer=ADDRESS, statement=text, nonce=nonce, now=NOW)

    verify(ADDRESS, signed_forms(text, message, ADDRESS, check_sign_in), text, signature)


def accepts(raw: bytes, *, text: str = TEXT) -> bool:
    """Return whether the owner's signature of these bytes proves the text."""
    try:
        accept(base64.b64encode(raw).decode(), str(OWNER.sign_message(raw)), text=text)
    except InvalidSignature:
        return False
    return True


def test_the_recorded_wallet_is_that_of_the_seed() -> None:
    assert RECORDED["signer"] == str(ADDRESS)
    assert len(VECTORS) == len(RECORDED["vectors"]) == 20


@pytest.mark.parametrize("form", VECTORS)
def test_what_a_library_signs_is_accepted_with_the_signed_bytes(form: str) -> None:
    accept(VECTORS[form]["message"], VECTORS[form]["signature"])
    with pytest.raises(InvalidSignature):
        accept(VECTORS[form]["message"], VECTORS[form]["signature"], text=TEXT + "0")


@pytest.mark.parametrize(
    "form",
    [
        form
        for form in VECTORS
        # These hold what the service cannot know without the bytes.
        if "transaction" not in form and "application" not in form and not form.endswith(", v0")
    ],
)
def test_a_wallet_that_returns_only_a_signature_may_have_wrapped_the_text(form: str) -> None:
    accept(None if form.startswith("text") else SIGN_IN, VECTORS[form]["signature"])


def test_the_text_may_be_repeated_as_the_message() -> None:
    accept(TEXT, VECTORS["text, bare"]["signature"])


def envelope(text: str, *signers: Pubkey) -> bytes:
    data = text.encode()
    listed = bytes([len(signers)]) + b"".join(sorted(map(bytes, signers)))
    return V0 + bytes(32) + b"\1" + listed + len(data).to_bytes(2, "little") + data


OTHER = Keypair().pubkey()
WRAPPED = envelope(TEXT, ADDRESS)


def test_the_envelopes_below_would_be_accepted_with_the_right_text_and_signer() -> None:
    assert accepts(WRAPPED)
    assert accepts(envelope(SIGN_IN, ADDRESS))
    assert accepts(V1 + b"\1" + bytes(ADDRESS) + TEXT.encode())


@pytest.mark.parametrize(
    "raw",
    [
        envelope(TEXT, OTHER),
        envelope(TEXT, ADDRESS, OTHER),
        envelope(TEXT, ADDRESS, ADDRESS),
        V1 + b"\1" + bytes(OTHER) + TEXT.encode(),
        envelope(TEXT.replace("400", "4000"), ADDRESS),
        envelope(f"{TEXT}\n", ADDRESS),
        envelope(f" {TEXT}", ADDRESS),
        envelope(f"{TEXT}0", ADDRESS),
        f"{TEXT}0".encode(),
        envelope(TEXT.replace("w", "\uff57"), ADDRESS),
        envelope(SIGN_IN.replace("400", "4000"), ADDRESS),
        envelope(SIGN_IN.replace("app.example", "evil.example"), ADDRESS),
        envelope(f"{TEXT}\n{SIGN_IN}", ADDRESS),
        V1 + b"\1" + bytes(ADDRESS) + WRAPPED,
        WRAPPED[1:],
        WRAPPED + b"\0",
        b"\xff" + TEXT.encode(),
        b"\xff" + WRAPPED,
        f"{TEXT}\n".encode(),
        TEXT.encode("utf-16"),
        "\ufeff".encode() + TEXT.encode(),
        base64.b64encode(WRAPPED),
    ],
    ids=[
        "another signer",
        "two signers",
        "a signer twice",
        "another signer in v1",
        "another amount",
        "a line more",
        "a space before",
        "a letter after",
        "a letter after, bare",
        "another letter that looks like it",
        "another statement",
        "another domain",
        "a text before the message",
        "an envelope in an envelope",
        "without its first byte",
        "a byte more",
        "ff and the text",
        "ff twice",
        "a line more, bare",
        "UTF-16",
        "a byte order mark",
        "base64 twice",
    ],
)
def test_an_envelope_that_says_something_else_is_refused(raw: bytes) -> None:
    assert not accepts(raw)


def test_a_text_that_is_an_envelope_stays_a_text() -> None:
    """A text in the table never begins with ff; if one did, only its own bytes would prove it."""
    text = WRAPPED.decode("latin-1")
    assert accepts(envelope(text, ADDRESS), text=text) is False
    assert accepts(WRAPPED, text=text) is False


@pytest.mark.parametrize(
    "message",
    ["QQ", "QQ=", "QR==", "QQ==QQ==", "QQ==\n", "Q-_Q", "=", "", "A" * 4095],
    ids=["unpadded", "short", "spare bits", "two", "a line", "URL-safe", "=", "empty", "odd"],
)
def test_base64_has_one_spelling(message: str) -> None:
    with pytest.raises(InvalidSignature):
        accept(message, str(OWNER.sign_message(b"A")), text="A")


def test_a_signature_of_other_bytes_than_the_message_is_refused() -> None:
    for vector in VECTORS.values():
        other = next(each for each in VECTORS.values() if each["message"] != vector["message"])
        with pytest.raises(InvalidSignature):
            accept(vector["message"], other["signature"])


# --- transactions --------------------------------------------------------------------------------

ZERO = Hash.default()
RECENT = Hash(bytes([9] * 32))


def memo(text: str = TEXT, *accounts: AccountMeta, program: Pubkey = MEMO_PROGRAMS[1]) -> Any:
    return Instruction(program, text.encode(), list(accounts))


def legacy(*instructions: Instruction, payer: Pubkey = ADDRESS, block_hash: Hash = ZERO) -> bytes:
    return bytes(Message.new_with_blockhash(list(instructions), payer, block_hash))


SIGNER = AccountMeta(ADDRESS, is_signer=True, is_writable=False)
NONCE_ACCOUNT = advance_nonce_account(
    AdvanceNonceAccountParams(nonce_pubkey=OTHER, authorized_pubkey=ADDRESS)
)
TRANSACTIONS = {
    "a recent block hash": legacy(memo(), block_hash=RECENT),
    "another's fee": legacy(memo(TEXT, SIGNER), payer=OTHER),
    "a second signer": legacy(memo(TEXT, SIGNER, AccountMeta(OTHER, True, False))),
    "another account": legacy(memo(TEXT, SIGNER, AccountMeta(OTHER, False, False))),
    "a writable account": legacy(memo(TEXT, AccountMeta(OTHER, False, True))),
    "the signer twice": legacy(memo(TEXT, SIGNER, SIGNER)),
    "two memos": legacy(memo(), memo()),
    "a durable nonce before": legacy(NONCE_ACCOUNT, memo()),
    "a durable nonce after": legacy(memo(), NONCE_ACCOUNT),
    "another program": legacy(memo(program=OTHER)),
    "another text": legacy(memo(TEXT.replace("400", "4000"))),
    "a text with more": legacy(memo(f"{TEXT} ")),
    "the sign-in message": legacy(memo(SIGN_IN)),
    "no instruction": legacy(),
    "a byte more": legacy(memo()) + b"\0",
    "a byte less": legacy(memo())[:-1],
    "version 1": b"\x81" + legacy(memo()),
    "a whole transaction": b"\1" + bytes(64) + legacy(memo()),
    "a longer length": legacy(memo()).replace(
        bytes([len(TEXT)]) + TEXT.encode(), bytes([len(TEXT) | 0x80, 0]) + TEXT.encode()
    ),
    "a lookup table": to_bytes_versioned(MessageV0.try_compile(ADDRESS, [memo()], [], ZERO))[:-1]
    + b"\1"
    + bytes(OTHER)
    + b"\0\1\0",
}


def test_the_transactions_below_would_be_accepted_with_a_dead_block_hash() -> None:
    for block_hash in DEAD_BLOCK_HASHES:
        for instruction in (memo(), memo(TEXT, SIGNER), memo(program=MEMO_PROGRAMS[0])):
            assert accepts(legacy(instruction, block_hash=block_hash))
            versioned = MessageV0.try_compile(ADDRESS, [instruction], [], block_hash)
            assert accepts(to_bytes_versioned(versioned))


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_any_other_transaction_is_refused(name: str) -> None:
    assert not accepts(TRANSACTIONS[name])


PROOFS = list(proof_messages(TEXT, ADDRESS))


def test_each_proof_is_another_message_within_a_packet() -> None:
    assert len(set(PROOFS)) == len(PROOFS) == 2 * 2 * 2 * len(DEAD_BLOCK_HASHES)
    assert max(map(len, PROOFS)) + 65 <= 1232


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Draw an accepted message with some bytes replaced, inserted or removed."""
    raw = bytearray(draw(st.sampled_from([*PROOFS, WRAPPED, TEXT.encode(), SIGN_IN.encode()])))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.sampled_from([0, 1, 1, 2, 32])))
        raw[start:end] = draw(st.binary(max_size=3))
    return bytes(raw)


@given(mutations())
def test_no_mutation_is_a_proof_unless_it_is_another_envelope_of_the_text(raw: bytes) -> None:
    assume(raw and raw not in {*PROOFS, TEXT.encode()})
    if accepts(raw):
        assert raw[:1] != b"\1"
        assert raw[:1] != b"\x80"
        assert raw.endswith(TEXT.encode()) or raw.decode().split("\n")[3] == TEXT
