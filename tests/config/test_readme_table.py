"""README.md lists every setting as the code declares it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvms.config.readme_table import with_settings_table

README = Path(__file__).parent.parent.parent / "README.md"


def test_the_table_in_the_readme_is_that_of_the_code() -> None:
    text = README.read_text()
    assert text == with_settings_table(text), "run `make settings`"


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        with_settings_table("# CVMS\n")
