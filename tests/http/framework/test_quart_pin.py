"""Quart-Trio and Werkzeug still call what the edge overrides."""

from __future__ import annotations

import pytest
from quart_trio import QuartTrio
from werkzeug.routing import BuildError, Map, MapAdapter, Rule

from cvms.http.framework.edge import Edge, RequestMap, RequestRule
from tests.source_pins import Pin, check_pin

DISPATCH: list[Pin] = [
    (QuartTrio.handle_request, "663b07e762fa6fde"),
    (QuartTrio.handle_websocket, "dee15ca0d847ed86"),
    (QuartTrio.handle_user_exception, "d141c540ee95f394"),
    (QuartTrio.full_dispatch_request, "427aa8d975891180"),
    (QuartTrio.full_dispatch_websocket, "16c3322c59aad70f"),
]


@pytest.mark.parametrize("pin", DISPATCH, ids=lambda pin: pin[0].__qualname__)
def test_the_dispatch_of_requests_is_the_one_that_was_overridden(pin: Pin) -> None:
    check_pin(pin, used_by="cvms/http/framework/edge.py")


RULES: list[Pin] = [
    (Rule.compile, "96edc39424f37ba3"),
    (Rule.build, "66b88dc2f51420e6"),
    (Rule._compile_builder, "a0ec55cf067ff5d5"),
]


@pytest.mark.parametrize("pin", RULES, ids=lambda pin: pin[0].__qualname__)
def test_the_builders_of_urls_are_the_ones_that_were_overridden(pin: Pin) -> None:
    check_pin(pin, used_by="cvms/http/framework/edge.py")


MAP: list[Pin] = [
    (Map.add, "2ab4650ad936e433"),
    (Map.update, "da4b5b36e74932ac"),
    (Map.iter_rules, "ecf264d2113e0ff1"),
    (MapAdapter.match, "d60987ae51086935"),
]


@pytest.mark.parametrize("pin", MAP, ids=lambda pin: pin[0].__qualname__)
def test_the_map_of_urls_is_updated_before_it_is_read(pin: Pin) -> None:
    check_pin(pin, used_by="cvms/http/framework/edge.py")


def test_rules_are_found_whether_they_were_added_before_or_after_the_first_search() -> None:
    assert Edge.url_map_class is RequestMap
    rules = RequestMap()
    for name in ("vaults", "alerts"):
        rules.add(RequestRule(f"/{name}/<key>", endpoint=name))
        assert rules.bind("localhost").match(f"/{name}/1") == (name, {"key": "1"})
        assert name in [rule.endpoint for rule in rules.iter_rules()]


def test_a_rule_is_matched_and_builds_no_url() -> None:
    assert Edge.url_rule_class is RequestRule
    urls = Map([RequestRule("/vaults/<owner>", endpoint="vault")]).bind("localhost")
    assert urls.match("/vaults/alice") == ("vault", {"owner": "alice"})
    with pytest.raises(BuildError):
        urls.build("vault", {"owner": "alice"})
