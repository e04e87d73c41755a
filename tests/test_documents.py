"""What the documents say of tests, files, algorithms and terms is so: a promise names a test that exists."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gateway.audit.checkpoint import create_signing_key
from gateway.audit.sshsig import allowed_signers
from gateway.domain.retention import Terms
from gateway.exchange.algorithms import LEGACY, MODERN, SIGNATURES
from gateway.settings.gateway_file import RetentionTable

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    ROOT / "docs" / f"{name}.md"
    for name in ("bio2", "crypto-inventory", "retention", "threat-model", "vault-format")
]
#: `path` or `path::test` of this repository, in code style.
NAMED = re.compile(r"`((?:deploy|docs|gateway|tests)/[\w./-]+\.(?:md|py|service|toml))(?:::(\w+))?`")
#: Modules of cryptography; random numbers of the system come besides.
CRYPTOGRAPHY = {"cryptography", "hashlib", "hmac", "secrets"}


@cache
def named_tests(path: Path) -> frozenset[str]:
    """The tests that a module defines."""
    found = ast.walk(ast.parse(path.read_text()))
    functions = (node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


def between(text: str, mark: str) -> str:
    """What a document holds between two marks."""
    found = re.search(rf"<!-- {mark}\b.*?-->(.*?)<!-- /{mark} -->", text, re.DOTALL)
    assert found, mark
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_what_a_page_names_exists(page: Path) -> None:
    """Each test and each file that it points to, and each other page with its heading."""
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text)
    assert links
    for path, test in NAMED.findall(text):
        assert (ROOT / path).is_file(), path
        assert not test or test in named_tests(ROOT / path), f"{path}::{test}"
    for path, heading in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        slugs = {slug(title) for title in re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)}
        assert not heading or heading in slugs, f"{path}#{heading}"


def slug(title: str) -> str:
    """The name under which a heading is linked."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_each_promise_names_its_test() -> None:
    """The README's promises, numbered; what has no complete test says so."""
    section = README.read_text().partition("## What it promises")[2].partition("\n## ")[0]
    promises = re.split(r"^(\d)\. ", section, flags=re.MULTILINE)[1:]
    assert promises[::2] == [str(number) for number in range(1, 8)]
    for promise in promises[1::2]:
        assert [test for _, test in NAMED.findall(promise) if test], promise


def test_every_algorithm_of_ssh_is_in_the_inventory() -> None:
    """Of both listeners, with where each is offered; none besides."""
    offered = {
        **{(name, "kex"): name in MODERN.kex for name in LEGACY.kex},
        **{(name, "cipher"): name in MODERN.ciphers for name in LEGACY.ciphers},
        **{(name, "mac"): name in MODERN.macs for name in LEGACY.macs},
        **{(name.value, "host key"): name in MODERN.host_keys for name in LEGACY.host_keys},
        **{(name, "signature of a partner"): True for name in SIGNATURES},
    }
    assert set(MODERN.kex + MODERN.ciphers + MODERN.macs) <= {name for name, _ in offered}
    told = {
        (name.strip("`"), kind): listener
        for name, kind, listener, *_ in rows(between((ROOT / "docs/crypto-inventory.md").read_text(), "ssh"))
    }
    assert told == {key: "both" if is_modern else "legacy" for key, is_modern in offered.items()}


def uses_of_cryptography() -> Iterator[str]:
    """The modules that import it, or draw random bytes."""
    for path in (ROOT / "gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import():
                    modules = {name.name.partition(".")[0] for name in node.names}
                case ast.ImportFrom(module=str(module)):
                    modules = {module.partition(".")[0]}
                case ast.Attribute(value=ast.Name(id="os"), attr="urandom"):
                    modules = CRYPTOGRAPHY
                case _:
                    continue
            if modules & CRYPTOGRAPHY:
                yield path.relative_to(ROOT).as_posix()


def test_every_use_of_cryptography_is_in_the_inventory() -> None:
    """Module by module; none besides."""
    table = rows(between((ROOT / "docs/crypto-inventory.md").read_text(), "files"))
    assert {path.strip("`") for path, _ in table} == set(uses_of_cryptography())


def test_the_terms_are_those_of_the_code() -> None:
    """Each setting of `[retention]` that is a term, with its default; and what has no setting."""
    table = rows(between((ROOT / "docs/retention.md").read_text(), "terms"))
    told = {setting.strip("`"): term for _, _, setting, term, *_ in table if setting}
    own = RetentionTable()
    assert told == {
        "raw": f"{own.raw} days",
        "signals": f"{own.signals} months",
        "excluded": f"{own.excluded} day",
        "dispatches": f"{own.dispatches} months",
        "audit": f"{own.audit} months",
    }
    fixed = {what: term for what, _, setting, term, *_ in table if not setting}
    assert fixed["contents of a signal without a municipality (D40)"] == f"{Terms().not_routable_days} days"


def test_a_certificate_is_verified_as_the_page_says(tmp_path: Path) -> None:
    """The command of docs/retention.md, on a message that the log's key signed; an altered one is refused."""
    (command,) = re.findall(r"^ssh-keygen .*$", (ROOT / "docs/retention.md").read_text(), re.MULTILINE)
    signer, name = create_signing_key(tmp_path), "verklaring_2027-000001.txt"
    (tmp_path / name).write_bytes(b"VERKLARING VAN VERNIETIGING\n")
    (tmp_path / f"{name}.sig").write_bytes(signer.sign_message((tmp_path / name).read_bytes()))
    (tmp_path / "allowed_signers").write_text(allowed_signers(signer.public_key))

    def verify() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )

    good = verify()
    assert (good.returncode, 'Good "verklaring@gateway" signature for gateway' in good.stdout) == (0, True)
    (tmp_path / name).write_bytes(b"VERKLARING VAN VERNIETIGING.\n")
    assert verify().returncode != 0
