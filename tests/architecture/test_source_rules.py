"""Two rules that imports cannot show: who starts tasks, and who holds SQL."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.paths import ROOT

SQL = re.compile(
    r"\s*(SELECT\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|WITH\s+\w+\s+AS\s"
    r"|(CREATE|ALTER|DROP)\s+(TABLE|SCHEMA|INDEX|DATABASE|ROLE)\s|LISTEN\s|NOTIFY\s)"
)
STARTERS = {"open_nursery", "create_task_group", "TaskGroup", "create_task", "spawn_system_task"}

STARTS_TASKS = {
    "cvms/bootstrap/transactions.py": "a command of its own: one request for each transaction",
    "cvms/chain/pubsub/account_subscription.py": "the requests of one connection, until it is lost",
    "cvms/chain/pubsub/log_subscription.py": "the pings of one connection, until it is lost",
    "cvms/chain/rpc/endpoint_probe.py": "the two questions of one probe",
    "cvms/chain/rpc/transport/failover.py": "one request to each endpoint",
    "cvms/checks/endpoint_check.py": "the questions to each endpoint of one check",
    "cvms/checks/groups.py": "the groups of one check",
    "cvms/client/stream.py": "runs in a client: the heartbeat of its stream",
    "cvms/dev/localnet.py": "a command of its own: the local chain in its process",
    "cvms/dev/run.py": "a command of its own: everything in one process",
    "cvms/http/server/http_connection.py": "the requests of one connection, until it ends",
    "cvms/http/server/server.py": "the connections, until the server has stopped",
    "cvms/settlement/gathering.py": "the questions to each endpoint about one submission",
    "cvms/store/messaging/outbox_notifier.py": "the two listeners of one wait",
    "cvms/store/postgres/migrate.py": "the report while one migration runs",
    "cvms/store/indexed_reads/reader.py": "one check of each replica",
}
"""Modules but those of `cvms.nursery` and the local chain that start tasks, and what these do."""

SPEAKS_SQL = {
    "cvms/localnet/ledger/sqlite_ledger.py": "the local chain's file, which no service reads",
}

Rule = Callable[[ast.AST], bool]


def starts_tasks(node: ast.AST) -> bool:
    """Return whether the node is a call that opens a nursery, or starts a task without one."""
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in STARTERS


def is_sql(node: ast.AST) -> bool:
    """Return whether the node is a text that begins as a statement of SQL does."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str | bytes)
        and SQL.match(node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
        is not None
    )


def modules_with(rule: Rule, root: Path, *, except_below: tuple[str, ...]) -> Iterator[str]:
    """Yield the modules of `cvms` in which a node meets the rule."""
    for path in sorted((root / "cvms").rglob("*.py")):
        module = path.relative_to(root).as_posix()
        if module.startswith(except_below):
            continue
        if any(rule(node) for node in ast.walk(ast.parse(path.read_text()))):
            yield module


def starting_tasks(root: Path) -> list[str]:
    return [*modules_with(starts_tasks, root, except_below=("cvms/nursery/", "cvms/localnet/"))]


def speaking_sql(root: Path) -> list[str]:
    return [*modules_with(is_sql, root, except_below=("cvms/store/",))]


def test_only_the_nursery_starts_tasks_that_outlive_a_call() -> None:
    assert starting_tasks(ROOT) == sorted(STARTS_TASKS)


def test_only_the_store_holds_sql() -> None:
    assert speaking_sql(ROOT) == sorted(SPEAKS_SQL)


def test_a_module_that_breaks_a_rule_is_found(tmp_path: Path) -> None:
    """Whatever it calls the library, however it writes the statement."""
    broken = {
        "nursery_from_import.py": "from trio import open_nursery\nasync def f(): open_nursery()\n",
        "nursery.py": "import trio as t\nasync def f():\n    async with t.open_nursery(): pass\n",
        "task_group.py": "import anyio\nasync def f():\n    anyio.create_task_group()\n",
        "system_task.py": "import trio\ndef f(g):\n    trio.lowlevel.spawn_system_task(g)\n",
    }
    spoken = {
        "argument.py": 'async def f(conn):\n    await conn.execute("SELECT 1")\n',
        "constant.py": 'QUERY = """\nDELETE FROM vaults\nWHERE owner = %(owner)s\n"""\n',
        "formatted.py": 'def f(table):\n    return f"INSERT INTO {table} VALUES (1)"\n',
        "in_bytes.py": 'QUERY = b"UPDATE vaults SET total = 0"\n',
        "with_clause.py": 'QUERY = "WITH newest AS (SELECT 1) SELECT * FROM newest"\n',
    }
    innocent = {
        "prose.py": '"""Select what to update."""\nTEXT = "Update the policy with AS"\n',
        "cvms/store/query.py": 'QUERY = "SELECT 1"\n',
        "cvms/nursery/task.py": "import trio\nasync def f(): trio.open_nursery()\n",
    }
    for name, text in (broken | spoken | innocent).items():
        path = tmp_path / (name if "/" in name else f"cvms/http/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert starting_tasks(tmp_path) == sorted(f"cvms/http/{name}" for name in broken)
    assert speaking_sql(tmp_path) == sorted(f"cvms/http/{name}" for name in spoken)
