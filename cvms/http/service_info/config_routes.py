"""What a client needs to know of this deployment: its programs, its chain, its limits."""

from __future__ import annotations

import msgspec
import trio
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.amounts import Amount
from cvms.chain.program.accounts import mint_decimals
from cvms.chain.program.addresses import vault_authority_address
from cvms.chain.rpc.responses import reader
from cvms.chain.types import Commitment
from cvms.errors import ChainUnavailable, NotFound, RpcError
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.edge import MAX_BODY, REQUEST_SECONDS
from cvms.http.framework.request import MAX_AMOUNT, MAX_PAGE
from cvms.http.framework.response import Response, with_strong_etag
from cvms.http.framework.routing import RouteGroup
from cvms.store.redis.rate_limiter import Rate

CACHE_SECONDS = 300


class ProgramAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """The programs' addresses, whose IDLs are at `/api/idl/{program}`."""

    collateral_vault: str
    position_manager: str
    yield_pool: str


class ChainInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The chain: the hash of its genesis block, and its name in Sign-In-With-Solana messages."""

    genesis_hash: str
    chain_id: str


class RequestRate(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests in so many seconds, which may come all at once."""

    requests: int
    seconds: float


class RateBounds(msgspec.Struct, frozen=True, kw_only=True):
    """The rate limits, null where there is none; `sensitive` is that of one address and route."""

    address: RequestRate | None
    sensitive: RequestRate | None
    owner: RequestRate | None
    everybody: RequestRate | None


class WebSocketBounds(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a WebSocket, see docs/websocket.md."""

    connections_per_address: int
    subscriptions: int
    frames_per_second: int


class DeploymentLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of requests. Amounts are token units, times seconds."""

    max_amount: Amount
    max_page: int
    max_body_bytes: int
    request_seconds: float
    nonce_seconds: float
    proposal_seconds: float
    max_fee_lamports: int
    rates: RateBounds
    websocket: WebSocketBounds


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """This deployment. `decimals` are the mint's; `operator` pays fees and may be a delegate."""

    programs: ProgramAddresses
    vault_authority: str
    mint: str
    decimals: int
    operator: str
    chain: ChainInfo
    sign_in_domains: list[str]
    limits: DeploymentLimits


def config_routes(websocket: WebSocketBounds) -> RouteGroup:
    """Return the route of one application, which asks the chain until it has answered once."""
    group = RouteGroup("operation")
    asking = trio.Lock()
    known: list[Deployment] = []

    @group.get(
        "/api/config",
        replies={200: Deployment, 304: None},
        refusals=(ChainUnavailable, RpcError, NotFound),
    )
    async def get_config(deps: Dependencies) -> Response:
        """Get the deployment's addresses and limits.

        Nothing of it changes while the service runs: it may be cached. 503 until the chain has
        answered once.
        """
        async with asking:
            if not known:
                known.append(await _deployment(deps, websocket))
        response = with_strong_etag(known[0])
        response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
        return response

    return group


async def _deployment(deps: Dependencies, websocket: WebSocketBounds) -> Deployment:
    programs, config = deps.programs, deps.config
    method = "getGenesisHash"
    genesis: str = await deps.rpc.call(method, [], parse=reader(str, method))
    found = await deps.rpc.get_accounts([programs.mint], commitment=Commitment.CONFIRMED)
    mint = found.accounts[0]
    if mint is None or mint.owner != TOKEN_PROGRAM_ID:
        raise NotFound(f"The chain has no mint {programs.mint}.")
    return Deployment(
        programs=ProgramAddresses(
            collateral_vault=str(programs.vault),
            position_manager=str(programs.position_manager),
            yield_pool=str(programs.yield_pool),
        ),
        vault_authority=str(vault_authority_address(programs)),
        mint=str(programs.mint),
        decimals=mint_decimals(mint.data),
        operator=str(deps.operator.address),
        chain=ChainInfo(genesis_hash=genesis, chain_id=config.sign_in.chain_id),
        sign_in_domains=list(config.sign_in.domains),
        limits=DeploymentLimits(
            max_amount=MAX_AMOUNT,
            max_page=MAX_PAGE,
            max_body_bytes=MAX_BODY,
            request_seconds=REQUEST_SECONDS,
            nonce_seconds=config.nonce_ttl,
            proposal_seconds=config.proposal_ttl,
            max_fee_lamports=config.sponsoring.transaction,
            rates=RateBounds(
                address=_rate(config.rates.address),
                sensitive=_rate(config.rates.sensitive),
                owner=_rate(config.rates.owner),
                everybody=_rate(config.rates.everybody),
            ),
            websocket=websocket,
        ),
    )


def _rate(rate: Rate | None) -> RequestRate | None:
    return None if rate is None else RequestRate(requests=rate.requests, seconds=rate.seconds)
