"""Writes each dashboard's JSON into this folder."""

from __future__ import annotations

from pathlib import Path

from deploy.monitoring.dashboards.business import BUSINESS
from deploy.monitoring.dashboards.chain import CHAIN
from deploy.monitoring.dashboards.rendering import Board, render
from deploy.monitoring.dashboards.service import SERVICE

FOLDER = Path(__file__).parent
BOARDS: tuple[Board, ...] = (SERVICE, CHAIN, BUSINESS)


def main() -> None:
    """Write the files."""
    for board in BOARDS:
        (FOLDER / f"{board.name}.json").write_text(render(board))


if __name__ == "__main__":
    main()
