"""The commands of the page about transactions of unknown outcome settle one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cvms.store.submissions.submissions import State
from tests.nursery.submission.signed_withdrawals import submission
from tests.nursery.world import World
from tests.operations.pages import shell
from tests.settlement.conftest import world as world  # noqa: PLC0414 - a fixture
from tests.settlement.quarantined import opened, quarantined


async def test_a_submission_is_found_looked_at_and_settled(
    world: World, database_url: str, tmp_path: Path
) -> None:
    signature = await quarantined(world, await opened(world), lands=False)
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DATABASE_URL": database_url,
        "SOLANA_RPC_URL": world.chain.rpc_url,
        "SIGNATURE": signature,
    }
    async with shell(tmp_path, environ) as bash:
        assert signature in await bash.run_all("submissions.md", section="Find it")
        evidence = await bash.run_all("submissions.md", section="Look at the evidence")
        assert "suggested   expired" in evidence
        settled = await bash.run_all("submissions.md", section="Settle it")
    assert settled == f"{signature} is settled as expired\n"
    assert (await submission(world, signature)).state is State.EXPIRED
