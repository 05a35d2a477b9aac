"""Public addresses, and those that lead elsewhere."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

import pytest

from cvms.config.public_address import is_public

# https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast
IPV4_REGISTRY = """
0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24
192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24
198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 255.255.255.255/32 224.0.0.0/4
"""
# https://www.iana.org/assignments/iana-ipv6-special-registry without the two that contain an IPv4
# address, and multicast, site-local and IPv4-compatible addresses
IPV6_REGISTRY = """
::/128 ::1/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::1/128
2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28
2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10
ff00::/8 fec0::/10 ::/96
"""
IPV4_NETWORKS = [IPv4Network(text) for text in IPV4_REGISTRY.split()]
NETWORKS = [*IPV4_NETWORKS, *(IPv6Network(text) for text in IPV6_REGISTRY.split())]
OF_IPV4 = ("::ffff:{}", "64:ff9b::{}")


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_no_address_of_a_special_network_is_public(network: IPv4Network | IPv6Network) -> None:
    for address in (network[0], network[network.num_addresses // 2], network[-1]):
        assert not is_public(address), address


@pytest.mark.parametrize("network", IPV4_NETWORKS, ids=str)
def test_an_ipv6_address_is_no_more_public_than_the_ipv4_address_in_it(
    network: IPv4Network,
) -> None:
    for layout in OF_IPV4:
        assert not is_public(ip_address(layout.format(network[-1]))), layout


@pytest.mark.parametrize(
    "text",
    [
        *("1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1"),
        *("192.0.1.1", "198.17.255.255", "198.20.0.0", "223.255.255.255"),
        *("2606:4700:4700::1111", "2001:200::1", "2003::1", "3ffe:ffff::1"),
        *(layout.format("1.1.1.1") for layout in OF_IPV4),
    ],
)
def test_the_others_are_public(text: str) -> None:
    assert is_public(ip_address(text))


def test_addresses_that_contain_a_private_one_are_not_public() -> None:
    private = int(IPv4Address("10.0.0.1"))
    six_to_four = (0x2002 << 112) | (private << 80)
    teredo = (0x20010000 << 96) | (private ^ 0xFFFFFFFF)
    for address in (six_to_four, teredo):
        assert not is_public(ip_address(address)), hex(address)
