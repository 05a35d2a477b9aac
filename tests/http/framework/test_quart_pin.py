"""Quart-Trio still hands every error of a handler to what the edge overrides."""

from __future__ import annotations

import pytest
from quart_trio import QuartTrio

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
