"""Longer drills, for `make drills`: fault, alert, the commands of its page, the alert's end."""

from __future__ import annotations

import os
import shlex
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from socket import gethostname

import psycopg
import trio
from solders.keypair import Keypair

from cvms.config.alert_settings import AlertSettings
from cvms.localnet.node.faults import Fail
from cvms.store.messaging import leader_lease
from tests.deploy.nginx import issue_certificate, nginx_command, proxy
from tests.harness.processes import HANG_SECONDS, cvms
from tests.harness.webhook_receiver import WebhookReceiver
from tests.http.wallets import deposit, funded, initialize, land, until_settled
from tests.nursery.supervision.test_service_manager import environ_of
from tests.operations.pages import Block
from tests.runbooks.conftest import SECRET, Drill, Start
from tests.runbooks.pages import PAGES

REFUSED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
WEBHOOK_SECRET = b"a secret of 24 bytes or more"
BLOCK_CLEANED_UP = -32001
# In one message, so that no replica takes the lock in between.
SEIZE_LEASE = f"""
SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
WHERE locktype = 'advisory' AND objid = {leader_lease.KEY};
SELECT pg_advisory_lock({leader_lease.KEY});
UPDATE leadership SET holder = 'forgotten', until = now() + INTERVAL '1 hour', term = term + 1;
"""
SOL = 1_000_000_000


async def depositor(at: Drill) -> Keypair:
    """Return a wallet whose vault holds a deposit."""
    wallet = await funded(at.service)
    await land(at.service, wallet, await initialize(at.service, wallet))
    signature = await land(at.service, wallet, await deposit(at.service, wallet, 1_000))
    await finalized(at, signature)
    return wallet


async def finalized(at: Drill, signature: str) -> None:
    """Wait until a transaction is final, and the books know it."""
    with trio.fail_after(60):
        while await status(at, signature) != "finalized":  # noqa: ASYNC110
            await trio.sleep(0.1)


async def status(at: Drill, signature: str) -> str:
    found: str = (await at.service.get(f"/api/transactions/{signature}")).json()["status"]
    return found


async def test_the_database_is_away(drill: Start) -> None:
    async with drill() as at:
        at.database.refuse()
        await at.monitors.until_firing("DatabaseDown")
        await at.monitors.until_firing("LeaderMissing", "suppressed")
        assert '"ok": false' in await at.follow("database-down")
        at.database.heal()
        await at.monitors.until_ended("DatabaseDown")


async def test_a_row_is_altered_by_hand(drill: Start, database_url: str) -> None:
    async with drill() as at:
        wallet = await depositor(at)
        await until_settled(at.service)
        with psycopg.connect(database_url) as conn:
            conn.execute("UPDATE vaults SET available = available + 5, total = total + 5")
        # The page asks for a comparison, which would come within a minute by itself.
        await at.follow("books-healed")
        await at.monitors.until_firing("BooksHealed")
        assert '"healed": true' in await at.follow("books-healed")
        await at.monitors.until_ended("BooksHealed")
        balance = (await at.service.get(f"/api/vault/balance/{wallet.pubkey()}")).json()
        assert int(balance["balance"]) == 1_000


async def test_the_operator_has_no_sol(drill: Start) -> None:
    async with drill() as at:
        operator = str(at.localnet.operator.pubkey())
        await at.service.rpc.call("surfnet_setAccount", [operator, {"lamports": 1_000_000}])
        await at.monitors.until_firing("OperatorCannotPay")
        await at.monitors.until_firing("FeePayerLow")
        assert operator in await at.follow("fee-payer-low")
        assert operator in await at.follow("operator-cannot-pay")
        await at.service.rpc.call("requestAirdrop", [operator, 10 * SOL])
        await at.monitors.until_ended("OperatorCannotPay")
        await at.monitors.until_ended("FeePayerLow")


async def test_the_operators_webhook_refuses(drill: Start, nursery: trio.Nursery) -> None:
    answer = REFUSED
    receiver = await WebhookReceiver(answer=lambda _: answer).start(nursery)
    alerting = AlertSettings(webhook_url=receiver.url, webhook_secret=WEBHOOK_SECRET)
    async with drill(alerts=alerting, webhook_private_addresses=True) as at:
        sent = await at.service.http.post(
            f"{at.service.url}/api/admin/deliveries/test",
            json={},
            headers={"Authorization": f"Bearer {at.token}"},
        )
        assert sent.status_code == 202, sent.text
        await at.monitors.until_firing("AlertWebhook")
        answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        assert '"state":"pending"' in await at.follow("alert-webhook")
        await at.monitors.until_ended("AlertWebhook")
        assert receiver.accepted


async def test_the_service_is_down(drill: Start) -> None:
    async with drill() as at:
        at.front.refuse()
        await at.monitors.until_firing("ServiceDown")
        await at.monitors.until_firing("ReplicaDown", "suppressed")
        assert "no answer" in await at.follow("service-down")
        at.front.heal()
        await at.monitors.until_ended("ServiceDown")


async def test_a_transaction_is_quarantined(drill: Start, database_url: str) -> None:
    async with drill() as at:
        await depositor(at)
        with psycopg.connect(database_url) as conn:
            row = conn.execute(
                "UPDATE submissions SET state = 'quarantined' WHERE kind = 'deposit' "
                "RETURNING signature"
            ).fetchone()
        assert row is not None
        await at.monitors.until_firing("SubmissionQuarantined")
        await at.set("SIGNATURE", row[0])
        await at.set("OUTCOME", "finalized")
        seen = await at.follow("submission-quarantined")
        assert row[0] in seen
        await at.monitors.until_ended("SubmissionQuarantined")


async def test_nobody_that_is_watched_leads(drill: Start, database_url: str) -> None:
    """A forgotten process holds the lock, and renews its lease."""
    async with drill() as at:
        with closing(psycopg.connect(database_url, autocommit=True)) as forgotten:
            forgotten.execute(SEIZE_LEASE.encode())
            await at.monitors.until_firing("LeaderMissing")
            seen = await at.follow("leader-missing")
            assert "forgotten" in seen
            assert str(forgotten.info.backend_pid) in seen
            await at.press("leader-missing", PID=str(forgotten.info.backend_pid))
        await at.monitors.until_ended("LeaderMissing")


async def test_a_process_leads_in_another_database(
    drill: Start, tmp_path: Path, empty_database_url: str
) -> None:
    async with drill() as at:
        chain = at.localnet
        environ = environ_of(empty_database_url, chain.operator, chain.rpc_url) | {
            "ADMIN_JWT_SECRET": SECRET.decode(),
            "SOLANA_WS_URL": chain.ws_url,
        }
        async with cvms("serve", folder=tmp_path, environ=environ) as astray:
            instance = f"127.0.0.1:{environ['PORT']}"
            at.monitors.watch("cvms", instance)
            await at.monitors.until_firing("TwoLeaders")
            seen = await at.follow("two-leaders")
            assert instance in seen
            holder, other = (f"{gethostname()}:{pid}" for pid in (os.getpid(), astray.process.pid))
            assert holder in seen
            assert other not in seen
            with trio.fail_after(HANG_SECONDS):  # its first heartbeat may not be stored yet
                press = partial(at.press, "two-leaders", INSTANCE=instance)
                while other not in (answer := await press()):  # noqa: ASYNC110
                    await trio.sleep(0.1)
            assert holder not in answer
            at.stand_in("systemctl", '[ "$*" = "stop cvms" ]', f"kill {astray.process.pid}")
            await at.press("two-leaders", **{"systemctl stop": "systemctl stop"})
            await at.monitors.until_ended("TwoLeaders")
            await at.monitors.until_firing("ReplicaDown")


async def test_the_proxys_certificate_expires(
    drill: Start, tmp_path: Path, nursery: trio.Nursery
) -> None:
    soon = datetime.now(UTC) + timedelta(days=1)
    folder = tmp_path / "nginx"
    folder.mkdir()
    async with drill() as at, proxy(folder, [at.service.port], expires=soon) as site:
        address = f"127.0.0.1:{site.port}"
        await at.monitors.watch_certificate(address, nursery)
        await at.monitors.until_firing("CertificateExpiring")
        tls = str(folder / "tls")
        assert address in await at.follow("certificate-expiring")
        end = f"notAfter={soon:%b %e %H:%M:%S %Y} GMT"
        assert end in await at.press("certificate-expiring", **{"HOST:PORT": address})
        assert end in await at.press("certificate-expiring", **{"-in /etc/nginx/tls": f"-in {tls}"})

        issue_certificate(tmp_path / "renewed")
        chain, key = (
            str(tmp_path / "renewed" / f"{name}.pem") for name in ("fullchain", "privkey")
        )
        at.stand_in("nginx", f'exec {shlex.join(nginx_command(folder))} "$@"')
        reload = f"kill -HUP $(cat {folder}/nginx.pid)"
        at.stand_in("systemctl", '[ "$*" = "reload nginx" ]', reload)
        await at.press("certificate-expiring", CHAIN=chain, KEY=key, **{"/etc/nginx/tls": tls})
        await at.press("certificate-expiring", **{"nginx -t": "nginx -t"})
        await at.monitors.until_ended("CertificateExpiring")


async def test_the_proxy_has_ended(drill: Start, tmp_path: Path, nursery: trio.Nursery) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    async with drill() as at, proxy(folder, [at.service.port]) as site:
        address = f"127.0.0.1:{site.port}"
        await at.monitors.watch_certificate(address, nursery)
        command = shlex.join(nginx_command(folder))
        at.stand_in("nginx", f'exec {command} "$@"')
        at.stand_in("systemctl", '[ "$*" != "restart nginx" ] || nginx >"$0.log" 2>&1 &')
        await at.bash.run(Block("the drill", 1, f"kill $(cat {folder}/nginx.pid)"))
        await at.monitors.until_firing("ProxyDown")
        seen = await at.follow("proxy-down")
        assert address in seen
        assert '"ok"' in seen
        assert "no answer" in await at.press("proxy-down", **{"HOST:PORT": address})
        await at.press("proxy-down", **{"nginx -t": "nginx -t"})
        await at.monitors.until_ended("ProxyDown")
        assert '"ok"' in await at.press("proxy-down", **{"HOST:PORT": address})


async def test_the_node_lacks_what_it_lists(drill: Start) -> None:
    async with drill() as at:
        wallet = await depositor(at)
        faults = at.localnet.running.faults
        faults.history.missing, faults.history.missing_blocks = 1.0, 10_000
        faults.rpc = [Fail(methods=["getBlock", "getBlocks"], code=BLOCK_CLEANED_UP)]
        signature = await land(at.service, wallet, await deposit(at.service, wallet, 500))
        await at.monitors.until_firing("IndexerGap")
        assert "no node has the next transaction" in await at.follow("indexer-gap")
        faults.history.missing, faults.rpc = 0.0, []
        await finalized(at, signature)
        await at.monitors.until_ended("IndexerGap")


async def test_a_lock_takes_all_connections_and_the_budget_of_errors(
    drill: Start, database_url: str
) -> None:
    async with drill() as at:
        with closing(psycopg.connect(database_url)) as forgotten:
            forgotten.execute("LOCK TABLE vaults")
            async with trio.open_nursery() as nursery:
                for _ in range(2 * at.service.config.database_connections):
                    nursery.start_soon(_ask_for_vaults, at)
                await at.monitors.until_firing("DatabasePoolExhausted")
                await at.monitors.until_firing("ErrorBudgetBurn")
                blocker = str(forgotten.info.backend_pid)
                assert blocker in await at.follow("database-pool-exhausted")
                assert "/api/admin/vaults" in await at.follow("error-budget-burn")
                await at.press("database-pool-exhausted", PID=blocker)
                await at.monitors.until_ended("DatabasePoolExhausted")
                await at.monitors.until_ended("ErrorBudgetBurn")
                nursery.cancel_scope.cancel()


async def _ask_for_vaults(at: Drill) -> None:
    headers = {"Authorization": f"Bearer {at.token}"}
    while True:
        await at.service.http.get(f"{at.service.url}/api/admin/vaults", headers=headers)
        await trio.sleep(0.1)


async def test_every_command_that_a_page_looks_with_succeeds(drill: Start) -> None:
    async with drill() as at:
        wallet = await depositor(at)
        await at.set("OWNER", str(wallet.pubkey()))
        for path in PAGES:
            if path.stem != "submission-quarantined":  # which needs one
                await at.bash.run_all(f"../runbooks/{path.name}", section="What to look at")
