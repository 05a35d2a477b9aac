"""query_for fills the columns of a row class into a query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pytest

from cvms.store.postgres.row_mapping import columns, query_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    owner: str
    kind: Literal["a", "b"]
    amount: int | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Base):
    at: datetime


@pytest.mark.parametrize(
    ("placeholder", "filled"),
    [
        ("{columns}", "owner, kind, amount, data"),
        ("{columns:p}", "p.owner, p.kind, p.amount, p.data"),
        ("{values}", "%(owner)s, %(kind)s, %(amount)s, %(data)s"),
        ("{arrays}", "%(owner)s::TEXT[], %(kind)s::TEXT[], %(amount)s::BIGINT[]"),
        ("{definitions}", "owner TEXT, kind TEXT, amount BIGINT, data JSONB"),
        ("{updates}", "kind = EXCLUDED.kind, amount = EXCLUDED.amount, data = EXCLUDED.data"),
    ],
)
def test_each_placeholder_is_filled_from_the_fields(placeholder: str, filled: str) -> None:
    assert query_for(Row, placeholder, key={"owner"}, without={"at"}) == filled


def test_inherited_fields_are_columns_too() -> None:
    assert columns(Row) == ["owner", "kind", "amount", "data", "at"]
