"""Genesis check: the database and every endpoint that is used belong to one chain."""

from __future__ import annotations

import structlog

from cvms.chain.rpc.chain_identity import is_hash, majority
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.checks.endpoint_check import another_chain
from cvms.errors import ChainUnavailable, ConfigurationError
from cvms.store.index import chain_genesis
from cvms.store.postgres.database import Database

log = structlog.get_logger(__name__)


async def verify_genesis(database: Database, rpc: RpcClient, *, may_change: bool) -> None:
    """Record the chain's genesis if none is, and use only endpoints of that chain from now on.

    Endpoints that do not serve the method are trusted, as long as no other tells the genesis. With
    `may_change`, a chain that was reset takes the place of the recorded one. Raises
    ConfigurationError if every endpoint that tells its genesis is on another chain,
    ChainUnavailable if none replies.
    """
    replies = await rpc.everywhere("getGenesisHash", [])
    seen = {each.endpoint: each.answer for each in replies if is_hash(each.answer)}
    if not seen:
        if not all(each.unserved for each in replies):
            raise ChainUnavailable("no endpoint tells its genesis")
        log.warning("genesis_not_verified", reason="no endpoint serves getGenesisHash")
        return
    current = majority(seen)
    async with database.connection() as conn:
        recorded = await chain_genesis.record(conn, current)
        if may_change and recorded != current:
            log.info("genesis_replaced", recorded=recorded, current=current)
            await chain_genesis.replace(conn, current)
            recorded = current
    if recorded not in seen.values():
        problem = another_chain(current, recorded=recorded)
        raise ConfigurationError(f"{problem.seen}; {problem.advice}")
    rpc.expect_genesis(recorded, seen)
