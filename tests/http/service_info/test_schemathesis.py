"""Every request, valid or not by the OpenAPI document, is answered as the document says.

schemathesis makes the requests: boundary values, random examples, and chains of requests along the
document's links. All of its checks hold. The seed is printed, so that a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from cryptography.fernet import Fernet
from hypothesis import strategies as st
from schemathesis import openapi
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.run import PhaseName
from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.http.framework.admin_tokens import Role, mint
from cvms.http.vaults.guards.change_text import write_change
from tests.harness.localnet import Localnet
from tests.harness.service import running
from tests.http.vaults.guards.test_change_text import CHANGES
from tests.http.wallets import USDT, with_vault

pytestmark = pytest.mark.slow(seconds=30)

SEED = 20
EXAMPLES = 1
CHAINS = 4
SECRET = b"s" * 32
# What the chain or the service's state may say to a request without a fault.
ACCEPTED = ["2xx", "304", "401", "403", "404", "409", "422", "429"]
# A transaction, a cursor, a URL, what excludes, requires or bounds what else is given: more than a
# schema can say.
OPAQUE = [
    "/api/transactions",
    "/api/auth/nonce",
    "/api/vaults",
    "/api/vault/signer-contact",
    "/api/webhooks",
    "/api/internal/transfer-collateral",
    "/api/vault/transactions/{owner}",
    "/api/vault/statement/{owner}",
    "/api/admin/statement",
    "/api/admin/statement/lines",
    "/api/analytics/flow",
    "/api/analytics/tvl-series",
]


@dataclass
class Seen:
    """The result of a run."""

    operations: set[str] = field(default_factory=set)
    phases: set[PhaseName] = field(default_factory=set)
    statuses: set[int] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)


def run(url: str, bearer: str, owners: list[str]) -> Seen:
    """Run all phases of schemathesis against `url`, reproducibly. Blocks until the end."""
    openapi.format("solana-pubkey", st.sampled_from(owners) | _bytes(32).map(_key))
    openapi.format("solana-signature", _bytes(64).map(_signature))
    openapi.format("guard-change", CHANGES.map(write_change))
    generation = {"max-examples": EXAMPLES, "deterministic": True, "database": "none"}
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "headers": {"Authorization": f"Bearer {bearer}"},
            "generation": generation,
            "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
            "phases": {"stateful": {"generation": {"max-examples": CHAINS}, "max-steps": 4}},
            "operations": [
                {
                    "include-path": path,
                    "checks": {
                        "positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400"]}
                    },
                }
                for path in OPAQUE
            ],
        }
    )
    schema = openapi.from_url(f"{url}/openapi.json", config=config)
    schema.hook("map_body")(_integers)
    schema.hook("filter_case")(_without_null)
    seen = Seen()
    for event in from_schema(schema).execute():
        for note in _notes(event):
            seen.failures.append(note)
        if isinstance(event, events.ScenarioFinished):
            _add(seen, event)
    return seen


def _add(seen: Seen, event: events.ScenarioFinished) -> None:
    seen.phases.add(event.phase)
    for case in event.recorder.cases.values():
        seen.operations.add(case.value.operation.label)
    for interaction in event.recorder.interactions.values():
        if interaction.response is not None:
            seen.statuses.add(interaction.response.status_code)


def _notes(event: Any) -> Iterator[str]:
    """Yield a description of each failure."""
    if isinstance(event, events.NonFatalError):
        yield f"{event.label}: {event.value}"
    if isinstance(event, events.FatalError):
        yield str(event.exception)
    if isinstance(event, events.ScenarioFinished):
        for name, checks in event.recorder.checks.items():
            for check in checks:
                if check.failure_info is not None:
                    failure, case = check.failure_info.failure, event.recorder.cases[name].value
                    yield f"{case.as_curl_command()}: {failure.title}: {failure.message}"


def _integers(_: Any, body: Any) -> Any:
    """Drop floats: JSON Schema calls 1.0 an integer, but the service takes no amount as a float."""
    if isinstance(body, dict):
        return {name: _integers(_, value) for name, value in body.items()}
    return int(body) if isinstance(body, float) and body.is_integer() else body


def _without_null(_: Any, case: Any) -> bool:
    """Leave out null, which counts as a field that is not sent; the document knows only this."""
    sent = [*(case.query or {}).values()]
    sent += case.body.values() if isinstance(case.body, dict) else []
    return not {None, "null"} & {each for each in sent if each is None or isinstance(each, str)}


def _bytes(number: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=number, max_size=number)


def _key(raw: bytes) -> str:
    return str(Pubkey(raw))


def _signature(raw: bytes) -> str:
    return str(Signature.from_bytes(raw))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_every_route_behaves_as_the_document_says(
    database_url: str, localnet: Localnet
) -> None:
    async with running(
        database_url,
        **localnet.settings,
        admin_jwt_secret=SECRET,
        data_encryption_keys=(Fernet.generate_key(),),
    ) as front:
        for name in ("database", "rpc", "indexer"):
            front.board.set_component(name, ok=True, detail="")
        front.board.answers_reads = True
        wallet = await with_vault(front, amount=10 * USDT, delegate=True)
        owners = [str(wallet.pubkey()), str(Pubkey([7] * 32))]
        bearer = mint(SECRET, subject="walker", role=Role.ADMIN, seconds=3600)
        print(f"schemathesis with seed {SEED}")  # noqa: T201
        seen = await trio.to_thread.run_sync(run, front.url, bearer, owners)
        document = (await front.get("/openapi.json")).json()
    assert not seen.failures, "\n\n".join(sorted(set(seen.failures))[:20])
    labels = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert seen.operations == labels
    assert PhaseName.STATEFUL_TESTING in seen.phases
    operations = [each for item in document["paths"].values() for each in item.values()]
    links = [
        link
        for each in operations
        for reply in each["responses"].values()
        for link in reply.get("links", {}).values()
    ]
    assert links
    assert {link["operationId"] for link in links} <= {each["operationId"] for each in operations}
    assert {200, 202, 400, 401, 404, 405, 415} <= seen.statuses
