"""The text in each program that says whom to tell about a vulnerability."""

from __future__ import annotations

import struct

import pytest

from tests.paths import PROGRAMS, ROOT

BEGIN, END = b"=======BEGIN SECURITY.TXT V1=======\0", b"=======END SECURITY.TXT V1=======\0"
REQUIRED = {"name", "project_url", "contacts", "policy"}
OPTIONAL = {"preferred_languages", "source_code", "encryption", "auditors", "acknowledgements"}
OPTIONAL |= {"expiry", "source_release", "source_revision"}
CONTACTS = {"email", "link", "discord", "telegram", "twitter", "other"}

NAMES = sorted(path.stem for path in PROGRAMS.glob("*.so"))


def elf_of(program: str) -> bytes:
    return (PROGRAMS / f"{program}.so").read_bytes()


def sections(elf: bytes) -> dict[str, bytes]:
    """Return the content of each section of a 64-bit ELF file."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names_at = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + size * at) for at in range(count)]
    names = elf[headers[names_at][4] :]
    return {
        names[name : names.index(b"\0", name)].decode(): elf[offset : offset + length]
        for name, _, _, _, offset, length in headers
    }


def fields_of(text: bytes) -> dict[str, str]:
    """Return the fields between the two marks."""
    parts = text[len(BEGIN) : text.index(END)].decode().split("\0")
    assert parts.pop() == ""
    names, values = parts[::2], parts[1::2]
    assert len(set(names)) == len(names)
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize("program", NAMES)
def test_the_section_holds_the_fields_that_tools_require(program: str) -> None:
    text = sections(elf_of(program))[".security.txt"]
    assert text.startswith(BEGIN)
    fields = fields_of(text)
    assert fields["name"] == f"CVMS {program}"
    assert fields.keys() >= REQUIRED
    assert fields.keys() <= REQUIRED | OPTIONAL
    assert {contact.split(":")[0] for contact in fields["contacts"].split(",")} <= CONTACTS


@pytest.mark.parametrize("program", NAMES)
def test_a_search_for_the_marks_finds_the_same_text(program: str) -> None:
    elf = elf_of(program)
    assert elf.count(BEGIN) == elf.count(END) == 1
    assert fields_of(elf[elf.index(BEGIN) :]) == fields_of(sections(elf)[".security.txt"])


@pytest.mark.parametrize("program", NAMES)
def test_the_loader_finds_two_segments_one_after_the_other(program: str) -> None:
    elf = elf_of(program)
    assert struct.unpack_from("<H", elf, 0x38) == (2,)
    segments = [struct.unpack_from("<IIQQQQ", elf, at) for at in (0x40, 0x78)]
    (_, _, first, _, _, length), (_, _, second, _, _, rest) = segments
    assert (first, second) == (0xB0, 0xB0 + length)
    assert length % 8 == rest % 8 == 0


def test_the_policy_is_a_document_of_the_repository() -> None:
    policy = fields_of(sections(elf_of("collateral_vault"))[".security.txt"])["policy"]
    assert (ROOT / policy.split()[0]).is_file()
