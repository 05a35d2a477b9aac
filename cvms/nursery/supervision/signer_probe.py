"""Probe of the signers outside this process: what is away is shown, and tried again."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from cvms.errors import SignerUnavailable
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.signing.guarded_signer import GuardedSigner
from cvms.signing.signer_set import SignerSet

PROBE_SECONDS = 1.0
CHECK_SECONDS = 10.0
"""Without a signature for so long, a signer is asked for one."""
WARN_SECONDS = 30.0
"""A signer may be away for so long without an alert, while another one signs."""
COMPONENT = "signer"
WARNING = "operator_signer"


@dataclass(slots=True, kw_only=True, eq=False)
class SignerProbe:
    """Keeps the board's component `signer` up to date. One signer is enough to be ready."""

    signers: SignerSet
    board: StatusBoard
    metrics: Metrics
    _away_since: dict[GuardedSigner, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._report()  # each has been asked when it was opened

    async def run_once(self) -> None:
        """Check those that are away, and those that have not signed for a while."""
        now = trio.current_time()
        async with trio.open_nursery() as nursery:
            for each in self.signers.remote:
                if not each.available or now >= each.checked_at + CHECK_SECONDS:
                    nursery.start_soon(_check, each)
        self._report()

    def _report(self) -> None:
        now = trio.current_time()
        away = {each: f"{each.name}: {each.away_because}" for each in self.signers.remote}
        away = {each: text for each, text in away.items() if not each.available}
        self._away_since = {each: self._away_since.get(each, now) for each in away}
        for each in self.signers.remote:
            self.metrics.operator.signer_available.labels(address=str(each.address)).set(
                each not in away
            )
        names = [each.name for each in self.signers.signers if each not in away]
        detail = "; ".join([*(f"{name} signs" for name in names), *away.values()])
        self.board.set_component(COMPONENT, ok=bool(names), detail=detail)
        long = [away[each] for each in away if now >= self._away_since[each] + WARN_SECONDS]
        if long:
            self.board.warnings[WARNING] = "; ".join(long)
        else:
            self.board.warnings.pop(WARNING, None)


async def _check(signer: GuardedSigner) -> None:
    try:
        await signer.check()
    except SignerUnavailable:
        return  # the signer knows why, and `_report` says it
