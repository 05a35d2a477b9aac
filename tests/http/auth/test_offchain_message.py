"""An off-chain message has one reading or none, and only its own text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.http.auth.offchain_message import (
    SIGNING_DOMAIN,
    V0,
    V1,
    OffchainMessage,
    envelopes,
    parse,
)

OWNER, OTHER = sorted((Keypair().pubkey(), Keypair().pubkey()), key=bytes)
ONE, TWO = b"\1" + bytes(OWNER), b"\2" + bytes(OWNER) + bytes(OTHER)
TEXT = "withdraw:400"
DATA = TEXT.encode()
SIZE = len(DATA).to_bytes(2, "little")
DOMAIN = b"app.example".ljust(32, b"\0")


@pytest.mark.parametrize(
    ("raw", "signers"),
    [
        (V0 + b"\0" + SIZE + DATA, ()),
        (V0 + b"\1" + SIZE + DATA, ()),
        (V0 + DOMAIN + b"\0" + ONE + SIZE + DATA, (OWNER,)),
        (V0 + DOMAIN + b"\2" + TWO + SIZE + DATA, (OWNER, OTHER)),
        (V1 + ONE + DATA, (OWNER,)),
        (V1 + TWO + DATA, (OWNER, OTHER)),
    ],
    ids=["short", "short UTF-8", "v0", "v0 of two", "v1", "v1 of two"],
)
def test_each_format_is_read(raw: bytes, signers: tuple[Pubkey, ...]) -> None:
    assert parse(raw) == OffchainMessage(TEXT, signers)


LINES = b"two\nlines"
LINES_SIZE = bytes([len(LINES), 0])


def test_lines_are_ascii_in_the_long_form_only_as_on_a_ledger() -> None:
    long_form = V0 + DOMAIN + b"\0" + ONE + LINES_SIZE + LINES
    assert parse(long_form).text == "two\nlines"
    with pytest.raises(ValueError, match="ASCII"):
        parse(V0 + b"\0" + LINES_SIZE + LINES)
    assert parse(V0 + b"\1" + LINES_SIZE + LINES).text == "two\nlines"


REFUSED = {
    "nothing": b"",
    "the domain alone": SIGNING_DOMAIN,
    "version 0 alone": V0,
    "version 1 alone": V1,
    "version 2": SIGNING_DOMAIN + b"\2" + ONE + DATA,
    "another domain": b"\xffsolana onchain!" + b"\1" + ONE + DATA,
    "without ff": V1[1:] + ONE + DATA,
    "short, format 3": V0 + b"\3" + SIZE + DATA,
    "short, one byte less": V0 + b"\0" + SIZE + DATA[:-1],
    "short, one byte more": V0 + b"\0" + SIZE + DATA + b"!",
    "short, the length in the other order": V0 + b"\0" + SIZE[::-1] + DATA,
    "short, empty": V0 + b"\0" + b"\0\0",
    "short, not ASCII": V0 + b"\0" + b"\2\0" + "é".encode(),
    "short, not UTF-8": V0 + b"\1" + b"\2\0" + b"\xc3\x28",
    "short, NUL": V0 + b"\1" + b"\2\0" + b"a\0",
    "v0, format 3": V0 + DOMAIN + b"\3" + ONE + SIZE + DATA,
    "v0, no signers": V0 + DOMAIN + b"\0\0" + SIZE + DATA,
    "v0, more signers than bytes": V0 + DOMAIN + b"\0\xff" + bytes(OWNER) + SIZE + DATA,
    "v0, no length": V0 + DOMAIN + b"\0" + ONE,
    "v0, half a length": V0 + DOMAIN + b"\0" + ONE + SIZE[:1],
    "v0, one byte less": V0 + DOMAIN + b"\0" + ONE + SIZE + DATA[:-1],
    "v0, one byte more": V0 + DOMAIN + b"\0" + ONE + SIZE + DATA + b"!",
    "v0, empty": V0 + DOMAIN + b"\0" + ONE + b"\0\0",
    "v0, not ASCII": V0 + DOMAIN + b"\0" + ONE + b"\2\0" + "é".encode(),
    "v0, right to left": V0 + DOMAIN + b"\1" + ONE + b"\3\0" + "\u202e".encode(),
    "v1, no signers": V1 + b"\0" + DATA,
    "v1, more signers than bytes": V1 + b"\2" + bytes(OWNER) + DATA,
    "v1, a signer twice": V1 + b"\2" + bytes(OWNER) * 2 + DATA,
    "v1, not in order": V1 + b"\2" + bytes(OTHER) + bytes(OWNER) + DATA,
    "v1, empty": V1 + ONE,
    "v1, with a length": V1 + ONE + SIZE + DATA,
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^its |^it does not begin"):
        parse(REFUSED[name])


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" \n"),
    min_size=1,
    max_size=300,
)


@given(texts, st.binary(min_size=32, max_size=32), st.lists(st.binary(min_size=32, max_size=32)))
def test_what_is_written_is_read(text: str, domain: bytes, keys: list[bytes]) -> None:
    data = text.encode()
    size = len(data).to_bytes(2, "little")
    names = tuple(map(Pubkey, keys[:255]))
    listed = bytes([len(names)]) + b"".join(map(bytes, names))
    assert parse(V0 + b"\1" + size + data) == OffchainMessage(text, ())
    if names:
        raw = V0 + domain + b"\1" + listed + size + data
        assert parse(raw) == OffchainMessage(text, names)
    ordered = tuple(sorted(set(names), key=bytes))
    if ordered:
        raw = V1 + bytes([len(ordered)]) + b"".join(map(bytes, ordered)) + data
        assert parse(raw) == OffchainMessage(text, ordered)


@given(texts)
def test_the_envelopes_of_a_text_contain_it_and_no_other_signer(text: str) -> None:
    assume_ascii = text.isascii()
    for raw in envelopes(text, OWNER):
        try:
            message = parse(raw)
        except ValueError:
            assert not assume_ascii  # ASCII by its format
        else:
            assert message.text == text
            assert message.signers in {(), (OWNER,)}


@st.composite
def near_envelopes(draw: st.DrawFn) -> bytes:
    """Draw bytes that begin as an off-chain message, with plausible counts and lengths."""
    body = draw(st.binary(max_size=40) | texts.map(str.encode))
    size = len(body) + draw(st.sampled_from([0, 0, 0, 1, -1]))
    head = draw(
        st.sampled_from([b"", b"\0", b"\1", DOMAIN, DOMAIN + b"\0", DOMAIN + b"\1"])
        | st.binary(max_size=40)
    )
    signers = draw(st.sampled_from([b"", ONE, TWO, b"\0"]))
    length = draw(st.sampled_from([b"", (size % 2**16).to_bytes(2, "little")]))
    return draw(st.sampled_from([V0, V1])) + head + signers + length + body


@given(near_envelopes() | st.binary(max_size=200))
def test_any_bytes_are_read_as_their_own_end_or_refused(raw: bytes) -> None:
    """Whatever is read is the end of what was signed: nothing follows the text, or is left out."""
    try:
        message = parse(raw)
    except ValueError:
        return
    assert raw.endswith(message.text.encode())
    assert message.text.replace("\n", "x").isprintable()
    head = len(raw) - len(message.text.encode())
    assert head >= 20 + 32 * len(message.signers) - 2
