"""README.md's table of settings. `make settings` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

from cvms.config.fields import Setting, settings_of
from cvms.config.settings import Config

BEGIN = "<!-- The table of settings. `make settings` writes it from cvms/config/settings.py. -->\n"
END = "<!-- End of the table of settings. -->\n"


def with_settings_table(text: str) -> str:
    """Return `text` with the table between the markers. Raises ValueError without markers."""
    before, _, rest = text.partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        raise ValueError("the markers of the settings table are missing")
    rows = "".join(map(_row, settings_of(Config)))
    return f"{before}{BEGIN}\n| variable | default | |\n|---|---|---|\n{rows}\n{END}{after}"


def _row(setting: Setting) -> str:
    default = {None: "required", "": "none"}.get(setting.default, f"`{setting.default}`")
    return f"| `{setting.name}` | {default} | {setting.about} |\n"


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(with_settings_table(readme.read_text()))
