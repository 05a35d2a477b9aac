"""quart-schema builds its document from the methods that our provider overrides."""

from __future__ import annotations

import pytest
from quart_schema.openapi import OpenAPIProvider

from tests.source_pins import Pin, check_pin

PROVIDER: list[Pin] = [
    (OpenAPIProvider.__init__, "da97bf9ef85688c1"),
    (OpenAPIProvider.schema, "3385d6800879cc3b"),
    (OpenAPIProvider.generate_rules, "236c9a30e417aaa9"),
    (OpenAPIProvider.build_paths, "cf6c7a18ff3d562a"),
]


@pytest.mark.parametrize("pin", PROVIDER, ids=lambda pin: pin[0].__qualname__)
def test_the_provider_is_the_one_that_was_subclassed(pin: Pin) -> None:
    check_pin(pin, used_by="cvms/http/service_info/openapi.py")
