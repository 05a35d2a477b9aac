"""pyproject.toml declares what is imported and nothing else, in the versions that are locked."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions

import pytest

from tests.paths import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

SERVICE = PYPROJECT["project"]["dependencies"]
DEV = PYPROJECT["project"]["optional-dependencies"]["dev"]
PKCS11 = PYPROJECT["project"]["optional-dependencies"]["pkcs11"]
TEST = PYPROJECT["dependency-groups"]["test"]

EXTRAS = DEV + PKCS11
OUR_OWN = {"bench", "cvms", "deploy", "tests"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: Iterable[str]) -> set[str]:
    """Return the names of distributions, without extras and versions."""
    return {canonical(re.split(r"[\[=]", requirement)[0]) for requirement in requirements}


def imported_by(*folders: str) -> dict[str, str]:
    """Return the distributions that the modules in these folders import, each with one importer.

    Of a package that several share, as those of OpenTelemetry do, it is all that are declared.
    """
    distributions = packages_distributions()
    known = declared(SERVICE + EXTRAS + TEST)

    def holders(package: str) -> Iterable[str]:
        names = list(map(canonical, distributions.get(package, [package])))
        return known.intersection(names) or names[:1]

    return {
        name: str(path.relative_to(ROOT))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        for package in top_level_packages(ast.parse(path.read_text()))
        if package not in sys.stdlib_module_names | OUR_OWN
        for name in holders(package)
    }


def top_level_packages(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.split(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.split(".")[0]
            # resources.files("swagger_ui"): files of a package that is not imported
            case ast.Call(ast.Attribute(attr="files"), [ast.Constant(value=str(package))]):
                yield package.split(".")[0]


def test_what_the_service_imports_is_declared() -> None:
    # The embedded database and the local chain come with the `dev` extra, HSMs with `pkcs11`.
    imported = imported_by("cvms")
    assert {name: imported[name] for name in imported.keys() - declared(SERVICE + EXTRAS)} == {}


def test_what_the_extra_holds_is_imported_by_dev_and_localnet_only() -> None:
    rest = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "cvms").iterdir()
        if path.is_dir() and path.name not in ("dev", "localnet")
    ]
    assert declared(DEV) & imported_by(*rest).keys() == set()


def test_without_the_extra_for_tokens_all_else_works() -> None:
    importers = {
        path.name
        for path in (ROOT / "cvms").rglob("*.py")
        if "pkcs11" in top_level_packages(ast.parse(path.read_text()))
    }
    assert importers == {"pkcs11_signer.py"}


def test_what_tests_benchmarks_and_examples_import_is_declared() -> None:
    imported = imported_by("tests", "bench", "docs", "deploy")
    undeclared = imported.keys() - declared(SERVICE + EXTRAS + TEST)
    assert {name: imported[name] for name in undeclared} == {}


def test_what_is_declared_is_imported() -> None:
    assert declared(SERVICE + EXTRAS) - imported_by("cvms").keys() == set()


@pytest.mark.parametrize(
    ("requirements", "lock"),
    [(SERVICE, "requirements.txt"), (SERVICE + EXTRAS + TEST, "requirements-dev.txt")],
    ids=["service", "development"],
)
def test_the_versions_are_those_of_the_lock(requirements: list[str], lock: str) -> None:
    locked = set(re.findall(r"^([^\s;]+==[^\s;]+)", (ROOT / lock).read_text(), re.MULTILINE))
    pinned = {re.sub(r"\[.*\]", "", requirement) for requirement in requirements}
    assert pinned - locked == set()
