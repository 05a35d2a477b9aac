"""Each client is counted under its own address, and none can choose the one it is counted under."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from cvms.http.framework.client_address import client_address

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
UNKNOWN = "unknown behind 10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("1.2.3.4", [], "1.2.3.4"),
        ("1.2.3.4", ["5.6.7.8"], "1.2.3.4"),  # not a proxy of ours: its word counts nothing
        ("10.0.0.1", ["5.6.7.8"], "5.6.7.8"),
        ("10.0.0.1", ["9.9.9.9, 5.6.7.8"], "5.6.7.8"),  # the first one is the client's own claim
        ("10.0.0.1", ["9.9.9.9, 5.6.7.8, 10.1.1.1"], "5.6.7.8"),
        ("10.0.0.1", ["9.9.9.9", "5.6.7.8"], "5.6.7.8"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["5.6.7.8, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["5.6.7.8:1234"], "5.6.7.8"),
        ("10.0.0.1", ["9.9.9.9:1, 5.6.7.8:2, 10.1.1.1:3"], "5.6.7.8"),
        ("10.0.0.1", ["[2001:db8:1:2::5]:1234"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["[2001:db8:1:2::5]"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["::ffff:5.6.7.8"], "5.6.7.8"),
        ("10.0.0.1", ["[5.6.7.8"], "10.0.0.1"),
        ("10.0.0.1", ["5.6.7"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["5.6.7.8"], "5.6.7.8"),
        ("2001:db8::1", [], "2001:db8::/64"),
        ("fd00::1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", [], "1.2.3.4"),
        ("", [], ""),
    ],
)
def test_a_clients_address_is_the_one_that_the_nearest_trusted_hop_saw(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert client_address(peer, PROXIES, x_forwarded_for=forwarded) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["for=5.6.7.8"], "5.6.7.8"),
        (["For=5.6.7.8;proto=https;by=10.0.0.1"], "5.6.7.8"),
        (["proto=https; for=5.6.7.8:1234"], "5.6.7.8"),
        (['for="5.6.7.8:1234"'], "5.6.7.8"),
        (['for="[2001:db8:1:2::5]:1234"'], "2001:db8:1:2::/64"),
        (['for="[2001:db8:1:2::5]"'], "2001:db8:1:2::/64"),
        (["for=9.9.9.9, for=5.6.7.8"], "5.6.7.8"),
        (["for=9.9.9.9, for=5.6.7.8, for=10.1.1.1"], "5.6.7.8"),
        (["for=9.9.9.9", "for=5.6.7.8"], "5.6.7.8"),
        (["for=_hidden"], "_hidden"),
        (['for="_hidden:_port"'], "_hidden"),
        (['for="5.6.7.8:_port"'], "5.6.7.8"),
        (["for=5.6.7.8, for=unknown"], "10.0.0.1"),
        (["for=5.6.7.8, proto=http"], "10.0.0.1"),
        (['by="a, for=9.9.9.9";for=5.6.7.8'], "5.6.7.8"),
        (['by="a\\", for=9.9.9.9";for="5.6.7.\\8"'], "5.6.7.8"),
        # What a client can put in front of the proxy's own element does not hide that.
        (['for="9.9.9.9, for=5.6.7.8'], UNKNOWN),
        (['for="', 'for="[2001:db8::5]:1"'], UNKNOWN),
        (["for=9.9.9.9 x, for=5.6.7.8"], UNKNOWN),
        (["nonsense"], UNKNOWN),
        ([""], UNKNOWN),
    ],
)
def test_forwarded_is_understood_as_rfc_7239_defines_it(forwarded: list[str], client: str) -> None:
    assert client_address("10.0.0.1", PROXIES, forwarded=forwarded) == client
    assert client_address("1.2.3.4", PROXIES, forwarded=forwarded) == "1.2.3.4"


def test_two_headers_that_disagree_do_not_let_a_client_choose_its_address() -> None:
    def seen(x_forwarded_for: str, forwarded: str) -> str:
        return client_address(
            "10.0.0.1", PROXIES, x_forwarded_for=[x_forwarded_for], forwarded=[forwarded]
        )

    assert seen("5.6.7.8", "for=5.6.7.8") == "5.6.7.8"
    assert seen("9.9.9.9, 5.6.7.8", 'for="5.6.7.8:99"') == "5.6.7.8"
    assert seen("5.6.7.8", "for=9.9.9.9") == UNKNOWN
    assert seen("9.9.9.9", "for=5.6.7.8") == UNKNOWN
    assert seen("5.6.7.8", "for=unknown") == UNKNOWN
    assert seen("5.6.7.8", 'for="') == UNKNOWN
