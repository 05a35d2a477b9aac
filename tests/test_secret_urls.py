"""URLs that hold secrets are checked, shown and redacted without them."""

from __future__ import annotations

import pytest

from cvms.errors import BadValue
from cvms.secret_urls import check_url, host_of, redacted

SECRET = "Zq7vXw2kLm9tRb4y"


@pytest.mark.parametrize(
    "url",
    [
        "https://rpc.example",
        "https://rpc.example/v2/key?api-key=a%40b",
        "HTTP://user:pa%2Fss@rpc_one.example.:8899/",
        "http://[::1]:8899",
        "https://key@10.0.0.1",
    ],
)
def test_a_good_url_passes(url: str) -> None:
    check_url(url, "http", "https")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"{SECRET}", "its scheme is not http or https"),
        (f"ftp://{SECRET}", "its scheme is not http or https"),
        (f"https://u:{SECRET}@@h", "its user or password has an @, [ or ] that is not percent"),
        (f"https://u:{SECRET}[@h", "its user or password has an @, [ or ] that is not percent"),
        (f"https://u:{SECRET}/@h", "behind the host it has an @"),
        (f"https://u:1234?{SECRET}@h", "behind the host it has an @"),
        (f"https://u:{SECRET}#@h", "it has a #"),
        (f"https://u:{SECRET} @h", "it has characters that have to be percent-encoded"),
        (f"https://u:{SECRET}é@h", "it has characters that have to be percent-encoded"),
        (f"https://u:{SECRET}%zz@h", "the percent-encoding of its password is not valid"),
        (f"https://{SECRET}%2@h", "the percent-encoding of its user is not valid"),
        (f"https://h/{SECRET}%", "the percent-encoding of its path is not valid"),
        (f"https://h/?key={SECRET}%g0", "the percent-encoding of its query is not valid"),
        (f"https://h/?key={SECRET}%00", "the percent-encoding of its query is not valid"),
        (f"https://h:{SECRET}", "its port is not a number from 1 to 65535"),
        ("https://h:", "its port is not a number from 1 to 65535"),
        ("https://h:0", "its port is not a number from 1 to 65535"),
        ("https://h:65536", "its port is not a number from 1 to 65535"),
        (f"https:///{SECRET}", "its host is not a name or an address"),
        ("https://[::1", "its host is not a name or an address"),
        ("https://[::x]:80", "its host is not a name or an address"),
        ("https://-h-", "its host is not a name or an address"),
        ("https://node..example", "its host is not a name or an address"),
        (f"https://{'h' * 64}.example", "its host is not a name or an address"),
        (f"https://{'h.' * 127}", "its host is not a name or an address"),
    ],
)
def test_the_part_at_fault_is_named_and_nothing_quoted(url: str, reason: str) -> None:
    with pytest.raises(BadValue, match=f"^{reason.replace('[', chr(92) + '[')}") as raised:
        check_url(url, "http", "https")
    assert SECRET not in str(raised.value)


def test_only_the_host_is_shown() -> None:
    assert host_of(f"https://u:{SECRET}@h:1/{SECRET}?key={SECRET}") == "h:1"


def test_a_text_is_redacted_of_every_secret_part() -> None:
    url = "https://us%20er:pass%40word@h/longerkey-1?a=longerkey"
    text = "us er pass@word pass%40word longerkey-1 longerkey h"
    assert redacted(text, url) == "us er … … … … h"


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("https://us%20er:pass%40word@h/", "dXMgZXI6cGFzc0B3b3Jk"),
        ("https://key@h/", "a2V5Og=="),
        ("https://:key@h/", "OmtleQ=="),
    ],
)
def test_a_text_is_redacted_of_the_header_with_the_password(url: str, header: str) -> None:
    """A provider that refuses a request may quote it."""
    assert redacted(f"authorization: Basic {header}", url) == "authorization: Basic …"
