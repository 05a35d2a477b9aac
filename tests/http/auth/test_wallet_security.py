"""Every signed route accepts only the wallet's own signature of these fields with an unused nonce.

A route that takes a wallet's signature and has no row here fails the first test.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from string import Formatter
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message, from_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.errors import RpcError
from cvms.http.auth.offchain_message import V0, V1
from cvms.http.auth.proof_transaction import MEMO_PROGRAMS, proof_messages
from cvms.http.framework.edge import Edge
from cvms.http.framework.routing import Auth, Route
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service, running
from tests.http.auth.sign_in import ALLOWED, message_of
from tests.http.wallets import USDT, rows, with_vault

KEY, OTHER_KEY = str(Pubkey([7] * 32)), str(Pubkey([8] * 32))
PROPOSAL, OTHER_PROPOSAL = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "12")
ABOUT_THE_SIGNATURE = {"invalid_signature", "invalid_nonce", "nonce_expired", "nonce_used"}
# Beside the fields, in every body.
PROOF = {"nonce", "signature", "message"}


@dataclass(frozen=True)
class Row:
    """The text that the wallet signs, and two valid values for each field.

    `unsigned` are the fields that the text does not contain. `optional` is a field that it contains
    before the nonce if the body has it.
    """

    text: str
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    unsigned: frozenset[str] = frozenset()
    optional: str | None = None

    @property
    def signer(self) -> str:
        """The field that names the signer."""
        return "owner" if "{owner}" in self.text and "owner" not in self.fields else "signer"

    def good(self, signer: Keypair, nonce: str) -> Json:
        """Return the body's fields, with a nonce and without a signature."""
        fields = {name: value for name, (value, _) in self.fields.items()}
        return {self.signer: str(signer.pubkey()), **fields, "nonce": nonce}

    def signed(self, body: Json, signer: Keypair) -> Json:
        return body | {"signature": str(signer.sign_message(self.said(body).encode()))}

    def said(self, body: Json) -> str:
        """Return the text with the body's fields.

        A boolean is `on` or `off`, the members of a list are separated by commas.
        """
        text = self.text
        if self.optional is not None and body.get(self.optional) is not None:
            text = text.replace(":{nonce}", f":{{{self.optional}}}:{{nonce}}")
        return text.format(**{name: _in_text(value) for name, value in body.items()})


def _in_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(value) if isinstance(value, list) else value


AMOUNT = {"amount": (1 * USDT, 2 * USDT)}
LENT = {**AMOUNT, "yield_program": (KEY, OTHER_KEY)}
ADDRESS = {"address": (KEY, OTHER_KEY)}
CHANGE = {"change": ("min_delay=60", "rate_limit=60/5")}
# Signers of the vault's multisig, who sign the transaction.
COSIGNERS = {"signers": (None, [KEY])}
COSIGNED = frozenset(COSIGNERS)
ENDPOINT = {"endpoint": (PROPOSAL, OTHER_PROPOSAL)}
TABLE: dict[str, Row] = {
    "POST /api/vault/deposit": Row("deposit:{owner}:{amount}:{nonce}", AMOUNT),
    "POST /api/vault/withdraw": Row(
        "withdraw:{owner}:{amount}:{nonce}",
        {**AMOUNT, "recipient": (None, KEY)},
        optional="recipient",
    ),
    "POST /api/vault/request-withdraw": Row("request_withdraw:{owner}:{amount}:{nonce}", AMOUNT),
    "POST /api/vault/schedule-withdraw": Row(
        "schedule:{owner}:{amount}:{duration_seconds}:{nonce}",
        {**AMOUNT, "duration_seconds": (60, 61)},
    ),
    "POST /api/vault/delegate/add": Row(
        "delegate_add:{owner}:{delegate}:{nonce}", {"delegate": (KEY, OTHER_KEY)}
    ),
    "DELETE /api/vault/delegate/remove": Row(
        "delegate_remove:{owner}:{delegate}:{nonce}", {"delegate": (KEY, OTHER_KEY)}
    ),
    "POST /api/vault/close": Row("close_vault:{owner}:{nonce}", COSIGNERS, COSIGNED),
    "POST /api/vault/request-withdraw/cancel": Row(
        "request_withdraw_cancel:{owner}:{amount}:{executable_at}:{nonce}",
        {**AMOUNT, "executable_at": (60, 61)},
    ),
    "POST /api/vault/timelock/cancel": Row(
        "timelock_cancel:{owner}:{amount}:{unlock_time}:{nonce}",
        {**AMOUNT, "unlock_time": (60, 61), **COSIGNERS},
        COSIGNED,
    ),
    "POST /api/vault/guard-changes/request": Row("guard_request:{owner}:{change}:{nonce}", CHANGE),
    "POST /api/vault/guard-changes/apply": Row("guard_apply:{owner}:{change}:{nonce}", CHANGE),
    "POST /api/vault/guard-changes/cancel": Row(
        "guard_cancel:{owner}:{change}:{nonce}", {"owner": (KEY, OTHER_KEY), **CHANGE}
    ),
    "POST /api/vault/transfer-allowance/set": Row(
        "transfer_allowance_set:{owner}:{allowance}:{nonce}",
        {"allowance": ("5", "unlimited"), **COSIGNERS},
        COSIGNED,
    ),
    "POST /api/vault/exit/request": Row("exit_request:{owner}:{nonce}", COSIGNERS, COSIGNED),
    "POST /api/vault/exit/release": Row("exit_release:{owner}:{nonce}"),
    "POST /api/vault/exit/withdraw": Row(
        "exit_withdraw:{owner}:{amount}:{nonce}", {**AMOUNT, **COSIGNERS}, COSIGNED
    ),
    "POST /api/vault/sweep": Row(
        "sweep:{owner}:{token_account}:{nonce}",
        {"token_account": (KEY, OTHER_KEY), **COSIGNERS},
        COSIGNED,
    ),
    "POST /api/vault/propose-withdraw": Row(
        "propose_withdraw:{owner}:{amount}:{threshold}:{nonce}",
        {**AMOUNT, "threshold": (2, 1), "signers": (None, [KEY])},
        unsigned=frozenset({"signers"}),
    ),
    "POST /api/vault/approve-withdraw": Row(
        "approve_withdraw:{proposal_id}:{nonce}", {"proposal_id": (PROPOSAL, OTHER_PROPOSAL)}
    ),
    "POST /api/vault/signer-contact": Row(
        "signer_contact:{signer}:{url}:{nonce}",
        {"url": ("https://hooks.example.com/a", "https://hooks.example.com/b")},
    ),
    "POST /api/pm/lock": Row("pm_lock:{owner}:{amount}:{nonce}", AMOUNT),
    "POST /api/pm/unlock": Row("pm_unlock:{owner}:{amount}:{nonce}", AMOUNT),
    "POST /api/vault/yield-deposit": Row(
        "yield_deposit:{owner}:{amount}:{yield_program}:{nonce}", LENT
    ),
    "POST /api/vault/yield-withdraw": Row(
        "yield_withdraw:{owner}:{amount}:{yield_program}:{nonce}", LENT
    ),
    "POST /api/vault/compound": Row(
        "compound_yield:{owner}:{compounded_amount}:{yield_program}:{nonce}",
        {"compounded_amount": (1, 2), "yield_program": (KEY, OTHER_KEY)},
    ),
    "POST /api/vault/yield-policy": Row(
        "yield_policy:{owner}:{yield_program}:{auto_compound}:{min_amount}:{nonce}",
        {"yield_program": (KEY, OTHER_KEY), "auto_compound": (True, False), "min_amount": (5, 6)},
    ),
    "POST /api/webhooks": Row(
        "webhook_register:{owner}:{topics}:{url}:{nonce}",
        {
            "topics": (["deposit_event", "lock_event"], ["deposit_event"]),
            "url": ("https://hooks.example.com/a", "https://hooks.example.com/b"),
        },
    ),
    "POST /api/webhooks/list": Row("webhook_list:{owner}:{nonce}"),
    "POST /api/webhooks/rotate": Row(
        "webhook_rotate:{owner}:{endpoint}:{overlap_seconds}:{nonce}",
        {**ENDPOINT, "overlap_seconds": (60, 0)},
    ),
    "POST /api/webhooks/activate": Row("webhook_activate:{owner}:{endpoint}:{nonce}", ENDPOINT),
    "POST /api/webhooks/deactivate": Row("webhook_deactivate:{owner}:{endpoint}:{nonce}", ENDPOINT),
    "POST /api/webhooks/delete": Row("webhook_delete:{owner}:{endpoint}:{nonce}", ENDPOINT),
    "POST /api/webhooks/messages": Row(
        "webhook_messages:{owner}:{endpoint}:{cursor}:{limit}:{nonce}",
        {**ENDPOINT, "cursor": (PROPOSAL, OTHER_PROPOSAL), "limit": (50, 10)},
    ),
    "POST /api/webhooks/resend": Row(
        "webhook_resend:{owner}:{endpoint}:{webhook_id}:{nonce}",
        {**ENDPOINT, "webhook_id": (PROPOSAL, OTHER_PROPOSAL)},
    ),
    "POST /api/webhooks/test": Row("webhook_test:{owner}:{endpoint}:{nonce}", ENDPOINT),
    "POST /api/2fa/setup": Row(
        "twofa_setup:{owner}:{nonce}", {"secret": (None, "A" * 32)}, optional="secret"
    ),
    "POST /api/2fa/disable": Row("twofa_disable:{owner}:{nonce}"),
    "POST /api/admin/withdraw/whitelist/add": Row(
        "whitelist_add:{owner}:{address}:{nonce}", {**ADDRESS, **COSIGNERS}, COSIGNED
    ),
    "DELETE /api/admin/withdraw/whitelist/remove": Row(
        "whitelist_remove:{owner}:{address}:{nonce}", ADDRESS
    ),
    "POST /api/admin/withdraw/min-delay/set": Row(
        "min_delay_set:{owner}:{seconds}:{nonce}", {"seconds": (60, 0), **COSIGNERS}, COSIGNED
    ),
    "POST /api/admin/withdraw/rate-limit/set": Row(
        "rate_limit_set:{owner}:{window_seconds}:{max_amount}:{nonce}",
        {"window_seconds": (60, 61), "max_amount": (5, 6), **COSIGNERS},
        COSIGNED,
    ),
}


# A DELETE with a body has a POST twin, for clients and proxies that drop such a body.
TABLE |= {
    name.replace("DELETE", "POST"): row for name, row in TABLE.items() if name.startswith("DELETE")
}


def routes_of(app: Edge) -> list[Route]:
    """Return the registered routes, whichever module they come from."""
    counted = [view for view in app.routes.views.values() if isinstance(view, partial)]
    views = [each for view in counted for each in view.args if isinstance(each, partial)]
    return [each for view in views for each in view.args if isinstance(each, Route)]


async def test_every_route_that_a_wallet_signs_for_is_in_the_table(service: Service) -> None:
    routes = routes_of(service.app)
    assert len(routes) > len(TABLE)
    wallets = {
        f"{route.method} {route.rule}": route.body
        for route in routes
        if route.auth in {Auth.WALLET, Auth.WALLET_OR_ADMIN}
    }
    with_signature = {
        f"{route.method} {route.rule}"
        for route in routes
        if route.body is not None and "signature" in route.body.__struct_fields__
    }
    assert wallets.keys() == with_signature == TABLE.keys()
    for name, body in wallets.items():
        assert body is not None
        row = TABLE[name]
        assert set(body.__struct_fields__) == {row.signer, *row.fields} | PROOF, name
        in_text = {each for _, each, _, _ in Formatter().parse(row.text) if each} | {row.signer}
        in_text |= {row.optional} if row.optional else set()
        assert in_text == ({row.signer, "nonce", *row.fields} - row.unsigned), name


@dataclass(frozen=True)
class Scene:
    """A vault with tokens whose delegate is the service, and a thief."""

    front: Service
    owner: Keypair
    mallory: Keypair

    async def ask(self, route: str, body: Json) -> httpx.Response:
        method, path = route.split()
        given = {name: value for name, value in body.items() if value is not None}
        return await self.front.http.request(method, self.front.url + path, json=given)

    async def refused(self, route: str, body: Json, status: int, code: str) -> None:
        """Make a request, and assert that it is refused so and changes nothing in the database."""
        before = await self.everything()
        reply = await self.ask(route, body)
        assert (reply.status_code, reply.json()["code"]) == (status, code), (route, body)
        assert await self.everything() == before, (route, body)

    async def everything(self) -> list[Json]:
        """Return all rows of the database, by table."""
        tables = await rows(
            self.front, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        names = sorted(each["tablename"] for each in tables)
        assert {"nonces", "submissions", "audit_logs"} <= set(names)
        # One query: the tests ask a thousand times.
        texts = [f"SELECT '{name}' AS name, t::text FROM {name} AS t" for name in names]
        return await rows(self.front, " UNION ALL ".join(texts) + " ORDER BY 1, 2")

    async def alter_nonces(self, change: str) -> None:
        async with self.front.database.connection() as conn:
            await conn.execute(f"UPDATE nonces SET {change}".encode())


@pytest.fixture
async def scene(database_url: str, localnet: Localnet) -> AsyncIterator[Scene]:
    async with running(
        database_url,
        **localnet.settings,
        data_encryption_keys=(Fernet.generate_key(),),
        sign_in=ALLOWED,
    ) as front:
        owner = await with_vault(front, amount=10 * USDT, delegate=True)
        yield Scene(front, owner, Keypair())


async def test_every_row_of_the_table_is_accepted_in_each_form(scene: Scene) -> None:
    """Otherwise the refusals below would prove nothing."""
    owner = scene.owner.pubkey()
    for route, row in TABLE.items():
        plain = row.good(scene.owner, await scene.front.nonce(scene.owner))
        reply = await scene.ask(route, row.signed(plain, scene.owner))
        assert reply.json().get("code") not in ABOUT_THE_SIGNATURE | {"invalid_request"}, reply.text
        for form in ("sign-in", "sign-in in base64", "v0", "v1", "memo"):
            body = row.good(scene.owner, await scene.front.nonce(scene.owner))
            text = row.said(body)
            message = message_of(owner, text, body["nonce"])
            signed = {
                "v0": V0 + b"\0" + len(text).to_bytes(2, "little") + text.encode(),
                "v1": V1 + b"\1" + bytes(owner) + text.encode(),
                "memo": next(proof_messages(text, owner)),
            }.get(form, message.encode())
            body["signature"] = str(scene.owner.sign_message(signed))
            body["message"] = message if form == "sign-in" else base64.b64encode(signed).decode()
            reply = await scene.ask(route, body)
            code = reply.json().get("code")
            assert code not in ABOUT_THE_SIGNATURE | {"invalid_request"}, (form, reply.text)


async def test_a_proof_is_never_a_transaction_and_no_transaction_a_proof(scene: Scene) -> None:
    """The chain refuses to execute a proof; with a block hash that it accepts it proves nothing."""
    owner = scene.owner
    row, route = TABLE["POST /api/vault/deposit"], "POST /api/vault/deposit"
    body = row.good(owner, await scene.front.nonce(owner))
    for proof in proof_messages(row.said(body), owner.pubkey()):
        message = from_bytes_versioned(proof)
        wire = bytes(VersionedTransaction.populate(message, [owner.sign_message(proof)]))
        with pytest.raises(RpcError, match=r"(?i)blockhash not found"):
            await scene.front.rpc.send_transaction(wire, skip_preflight=False)
    latest = await scene.front.rpc.get_latest_blockhash()
    memo = Instruction(MEMO_PROGRAMS[1], row.said(body).encode(), [])
    real = Message.new_with_blockhash([memo], owner.pubkey(), latest.blockhash)
    body["message"] = base64.b64encode(bytes(real)).decode()
    body["signature"] = str(owner.sign_message(bytes(real)))
    await scene.refused(route, body, 401, "invalid_signature")


async def test_a_nonce_is_of_no_use_to_another_wallet(scene: Scene) -> None:
    owner, mallory = scene.owner, scene.mallory
    for route, row in TABLE.items():
        for thief, victim in ((owner, mallory), (mallory, owner)):
            stolen = row.good(thief, await scene.front.nonce(victim))
            await scene.refused(route, row.signed(stolen, thief), 401, "invalid_nonce")


async def test_the_signature_of_another_wallet_is_refused(scene: Scene) -> None:
    for route, row in TABLE.items():
        body = row.good(scene.owner, await scene.front.nonce(scene.owner))
        forged = row.signed(body, scene.mallory)
        await scene.refused(route, forged, 401, "invalid_signature")
        message = message_of(scene.owner.pubkey(), row.said(body), body["nonce"])
        forged["message"] = message
        forged["signature"] = str(scene.mallory.sign_message(message.encode()))
        await scene.refused(route, forged, 401, "invalid_signature")


async def test_a_signature_is_for_its_fields_only(scene: Scene) -> None:
    for route, row in TABLE.items():
        body = row.good(scene.owner, await scene.front.nonce(scene.owner))
        signed = row.signed(body, scene.owner)
        others = {name: other for name, (_, other) in row.fields.items()} | {
            row.signer: str(scene.mallory.pubkey()),
            "nonce": await scene.front.nonce(scene.owner),
        }
        for name in others.keys() - row.unsigned:
            changed = signed | {name: others[name]}
            await scene.refused(route, changed, 401, "invalid_signature")
        for name in row.unsigned:
            # A field outside the text must equal what is on chain.
            before = await scene.everything()
            reply = await scene.ask(route, signed | {name: others[name]})
            assert reply.json()["code"] in {"invalid_request", "no_multisig"}, reply.text
            assert await scene.everything() == before


async def test_a_recipient_that_was_signed_can_be_neither_removed_nor_replaced(
    scene: Scene,
) -> None:
    route = "POST /api/vault/withdraw"
    row = TABLE[route]
    body = row.good(scene.owner, await scene.front.nonce(scene.owner)) | {"recipient": KEY}
    signed = row.signed(body, scene.owner)
    for recipient in (None, OTHER_KEY, str(scene.owner.pubkey())):
        await scene.refused(route, signed | {"recipient": recipient}, 401, "invalid_signature")
    reply = await scene.ask(route, signed)
    # The signature is valid; the recipient is not on the vault's whitelist.
    assert reply.json()["code"] == "invalid_request", reply.text
    assert [each["path"] for each in reply.json()["errors"]] == ["recipient"]


async def test_a_signature_is_for_its_route_only(scene: Scene) -> None:
    """If the fields are equal, only the first word of the text differs."""
    for route, row in TABLE.items():
        body = row.good(scene.owner, await scene.front.nonce(scene.owner))
        _, _, rest = row.text.partition(":")
        actions = {each.text.partition(":")[0] for each in TABLE.values() if each is not row}
        for action in actions:
            signed = Row(f"{action}:{rest}").signed(body, scene.owner)
            await scene.refused(route, signed, 401, "invalid_signature")


async def test_an_expired_nonce_is_refused(scene: Scene) -> None:
    for route, row in TABLE.items():
        body = row.good(scene.owner, await scene.front.nonce(scene.owner))
        await scene.alter_nonces("expires_at = clock_timestamp()")
        await scene.refused(route, row.signed(body, scene.owner), 401, "nonce_expired")


async def test_a_used_nonce_is_refused(scene: Scene) -> None:
    for route, row in TABLE.items():
        body = row.good(scene.owner, await scene.front.nonce(scene.owner))
        await scene.alter_nonces("used_at = clock_timestamp()")
        await scene.refused(route, row.signed(body, scene.owner), 409, "nonce_used")
