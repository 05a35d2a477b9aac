import pytest

from .counts import Counts, every_instruction


@pytest.fixture(scope="session")
def all_counts() -> Counts:
    """The counts of all machines together."""
    return every_instruction()
