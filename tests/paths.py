"""Places in the repository that tests read."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Mutants of the programs are tested in a folder of their own.
PROGRAMS = Path(os.environ.get("CVMS_TEST_PROGRAMS", ROOT / "cvms" / "programs"))
IDL = ROOT / "cvms" / "chain" / "program" / "idl"
