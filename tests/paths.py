"""Places in the repository that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PROGRAMS = ROOT / "cvms" / "programs"
IDL = ROOT / "cvms" / "chain" / "program" / "idl"
