"""The ledger in SQLite. A transaction is committed before it is acknowledged.

In WAL mode a commit has reached the operating system when it returns, so a killed process loses
nothing. A power failure may lose the newest commits, which is acceptable for development.

A commit costs more than the virtual machine, so transactions that arrive together share one:
`batched` writes, and whoever tells of what was written waits for `committed` before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path

import msgspec
import trio
from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey

from cvms.errors import ConfigurationError
from cvms.localnet.types import Block, Entry

FORMAT = 1

CHECKPOINT_PAGES = 4000
"""16 MiB. Each checkpoint syncs the file, for which every client waits."""

MAX_SLOT = 2**63 - 1
"""SQLite's largest integer. Slots are unsigned 64-bit integers, but none comes near it."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (
    slot INTEGER PRIMARY KEY, parent_slot INTEGER NOT NULL, height INTEGER NOT NULL,
    blockhash BLOB NOT NULL, time INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS entries (
    slot INTEGER NOT NULL, position INTEGER NOT NULL, signature TEXT NOT NULL UNIQUE,
    message_hash BLOB NOT NULL UNIQUE, wire BLOB NOT NULL, keys BLOB NOT NULL, meta TEXT NOT NULL,
    PRIMARY KEY (slot, position)
);
CREATE TABLE IF NOT EXISTS mentions (
    key BLOB NOT NULL, slot INTEGER NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (key, slot, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (
    key BLOB NOT NULL, slot INTEGER NOT NULL, account BLOB, -- NULL: closed
    PRIMARY KEY (key, slot)
);
"""


class Ledger:
    """All blocks and transactions, and the account versions that are still needed.

    Without a `path` it is in memory. Raises ConfigurationError if another process has the file
    open, or it has another format.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=1.0)
        self._failed = False
        self.uncommitted = False
        """True from the first write of a batch until its commit."""
        self._commits = 0
        try:
            self._open()
            if int(self.setting("format", b"%d" % FORMAT)) != FORMAT:
                raise ConfigurationError(f"the ledger {path} has another format; reset it")
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise ConfigurationError(f"cannot use the ledger {path}: {error}") from error

    def _open(self) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file. It holds what was written, unless a write has failed."""
        if not self._failed:
            self.commit()
        self._db.close()

    def atomically(self) -> AbstractContextManager[None]:
        """Commit the writes of the `with` block together, or none if it raises."""
        self.commit()
        return _SqliteTransaction(self._db)

    @contextmanager
    def batched(self) -> Iterator[None]:
        """Make the writes of the `with` block a part of the next commit.

        If it raises, the batch is lost and the ledger must not be used any more.
        """
        if not self.uncommitted:
            self._db.execute("BEGIN")
            self.uncommitted = True
        try:
            yield
        except BaseException:
            self._failed = True
            self._db.close()  # nobody may be told that another part of the batch is on disk
            raise

    def commit(self) -> None:
        """Commit what `batched` wrote."""
        if self.uncommitted:
            self._db.execute("COMMIT")
            self.uncommitted = False
            self._commits += 1

    async def committed(self) -> None:
        """Return once all that was written is committed. Tasks that wait share a commit."""
        if self.uncommitted:
            before = self._commits
            await trio.lowlevel.cancel_shielded_checkpoint()  # the others that can run write first
            if self._commits == before:
                self.commit()

    # --- settings ------------------------------------------------------------------------------

    def setting(self, name: str, default: bytes) -> bytes:
        """Return a stored value. The first time, `default` is stored."""
        self._db.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, default))
        row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return bytes(row[0])

    def set_setting(self, name: str, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    # --- blocks --------------------------------------------------------------------------------

    def add_block(self, block: Block) -> None:
        row = (block.slot, block.parent_slot, block.height, bytes(block.blockhash), block.time)
        self._db.execute("INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", row)

    def newest_blocks(self, limit: int) -> list[Block]:
        """Return the newest blocks, oldest first."""
        rows = self._db.execute("SELECT * FROM blocks ORDER BY slot DESC LIMIT ?", (limit,))
        return [_block(row) for row in rows][::-1]

    def block(self, slot: int) -> Block | None:
        row = self._db.execute(
            "SELECT * FROM blocks WHERE slot = ?", (min(slot, MAX_SLOT),)
        ).fetchone()
        return _block(row) if row else None

    def block_slots(self, first: int, last: int, limit: int) -> list[int]:
        rows = self._db.execute(
            "SELECT slot FROM blocks WHERE slot BETWEEN ? AND ? ORDER BY slot LIMIT ?",
            (min(first, MAX_SLOT), min(last, MAX_SLOT), min(limit, MAX_SLOT)),
        )
        return [slot for (slot,) in rows]

    def drop_after(self, slot: int) -> None:
        """Delete every block above `slot`, with its transactions and account versions."""
        for table in ("mentions", "entries", "blocks", "accounts"):
            self._db.execute(f"DELETE FROM {table} WHERE slot > ?", (slot,))  # noqa: S608

    # --- transactions --------------------------------------------------------------------------

    def add_entry(self, entry: Entry) -> None:
        keys = b"".join(bytes(key) for key in entry.keys)
        meta = msgspec.json.encode(entry.meta).decode()
        self._db.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
            (entry.slot, entry.index, entry.signature, entry.message_hash, entry.wire, keys, meta),
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO mentions VALUES (?, ?, ?)",
            [(bytes(key), entry.slot, entry.index) for key in entry.keys],
        )

    def entry(self, signature: str) -> Entry | None:
        row = self._db.execute("SELECT * FROM entries WHERE signature = ?", (signature,)).fetchone()
        return _entry(row) if row else None

    def message_slot(self, message_hash: bytes) -> int | None:
        """Return the slot of the block that holds a message."""
        row = self._db.execute(
            "SELECT slot FROM entries WHERE message_hash = ?", (message_hash,)
        ).fetchone()
        return row[0] if row else None

    def entries_in(self, slot: int, *, first: int = 0) -> list[Entry]:
        """Return a block's transactions from position `first` on."""
        rows = self._db.execute(
            "SELECT * FROM entries WHERE slot = ? AND position >= ? ORDER BY position",
            (slot, first),
        )
        return [_entry(row) for row in rows]

    def slots_of_entries(self, last: int, limit: int) -> list[int]:
        """Return the newest slots up to `last` that have transactions, oldest first."""
        rows = self._db.execute(
            "SELECT DISTINCT slot FROM entries WHERE slot <= ? ORDER BY slot DESC LIMIT ?",
            (last, limit),
        )
        return [slot for (slot,) in rows][::-1]

    def entry_count(self, *, after: int = -1) -> int:
        """Return the number of transactions in slots after this one."""
        row = self._db.execute("SELECT count(*) FROM entries WHERE slot > ?", (after,)).fetchone()
        return int(row[0])

    def position(self, signature: str) -> tuple[int, int] | None:
        """Return a transaction's slot and its index in the block."""
        row = self._db.execute(
            "SELECT slot, position FROM entries WHERE signature = ?", (signature,)
        ).fetchone()
        return (row[0], row[1]) if row else None

    def mentioning(
        self, key: Pubkey, *, below: tuple[int, int], above: tuple[int, int], limit: int
    ) -> list[Entry]:
        """Return transactions between two positions whose accounts include `key`, newest first."""
        rows = self._db.execute(
            """SELECT entries.* FROM mentions
            JOIN entries USING (slot, position)
            WHERE mentions.key = ?
              AND (mentions.slot, mentions.position) < (?, ?)
              AND (mentions.slot, mentions.position) > (?, ?)
            ORDER BY mentions.slot DESC, mentions.position DESC LIMIT ?""",
            (bytes(key), *below, *above, limit),
        )
        return [_entry(row) for row in rows]

    # --- accounts ------------------------------------------------------------------------------

    def put_accounts(self, slot: int, accounts: Iterable[tuple[Pubkey, Account | None]]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO accounts VALUES (?, ?, ?)",
            [(bytes(key), slot, account and bytes(account)) for key, account in accounts],
        )

    def forget_accounts(self, before: Iterable[tuple[Pubkey, int]]) -> None:
        """Delete each key's versions that are older than its slot."""
        self._db.executemany(
            "DELETE FROM accounts WHERE key = ? AND slot < ?",
            [(bytes(key), slot) for key, slot in before],
        )

    def drop_account(self, key: Pubkey) -> None:
        self._db.execute("DELETE FROM accounts WHERE key = ?", (bytes(key),))

    def account_versions(self) -> Iterator[tuple[Pubkey, int, Account | None]]:
        """Yield all versions, oldest first."""
        for key, slot, account in self._db.execute("SELECT * FROM accounts ORDER BY slot"):
            yield Pubkey.from_bytes(key), slot, account and Account.from_bytes(account)


class _SqliteTransaction(AbstractContextManager[None]):
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _block(row: tuple[int, int, int, bytes, int]) -> Block:
    slot, parent_slot, height, blockhash, time = row
    return Block(slot, parent_slot, height, Hash.from_bytes(blockhash), time)


# By content, so nothing can be out of date: subscribers, blocks and fees all read the newest ones.
@lru_cache(maxsize=2048)
def _entry(row: tuple[int, int, str, bytes, bytes, bytes, str]) -> Entry:
    slot, index, signature, message_hash, wire, keys, meta = row
    unpacked = tuple(Pubkey.from_bytes(keys[i : i + 32]) for i in range(0, len(keys), 32))
    return Entry(slot, index, signature, message_hash, wire, unpacked, msgspec.json.decode(meta))
