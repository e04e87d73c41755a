"""The pages for partners: their commands are executed as they stand, and both languages have the same (spec 1).

A page marks its blocks: `file` is saved under that name, `run` is a step, `cron` a line of a crontab. A partner's
computer here is a home folder of its own; what the page invents is put in by `Desk.fitted`, and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import asyncssh
import pytest

CREDITOR, MUNICIPALITY = "woonservice", "middendrenthe"
PAGES = Path(__file__).parents[2] / "docs" / "partners"
LANGUAGES = ("en", "nl")

#: What each page needs. Toolchains are not promised by CI: they are used where they are.
PROGRAMS = {
    "openssh": ("sftp", "scp", "ssh-keyscan"),
    "lftp": ("lftp", "ssh-keyscan"),
    "curl": ("curl",),
    "rclone": ("rclone", "ssh-keyscan"),
    "putty": ("psftp", "pscp", "puttygen"),
    "paramiko": ("python3", "ssh-keyscan"),
    "node": ("node",),
    "go": ("go", "ssh-keyscan"),
    "jsch": ("mvn", "javac", "ssh-keyscan"),
    "mina": ("mvn", "javac", "ssh-keyscan"),
}
TOOLCHAINS = {"go", "mvn", "javac"}
#: Pages of clients that have no program here: settings alone.
UNTRIED = {"winscp", "filezilla", "ssh-net"}

#: Python with paramiko, and rclone, first; Go where its own installation puts it last.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/local/go/bin"])
#: What the pages invent, with its real counterpart beside it in `Desk.fitted`.
HOST, PORT, USER = "gateway.example.nl", "2222", "woonstichting"
FINGERPRINT = "7Xq0bW5m3VbZJt1cYkDgR2sPfN8uLhEoTiQvA4wMxKs"
FILE = "signalen_2026-11.csv"

#: Programs of a second need no second compiler.
_QUICK_JAVA = dict.fromkeys(("MAVEN_OPTS", "JDK_JAVA_OPTIONS"), "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

_BLOCK = re.compile(
    r"^(?:<!-- (?P<kind>file|run|cron|not run)(?:: (?P<word>[^>]+))? -->\n)?"
    r"```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
#: Where the comments of a language begin, which may be translated.
_COMMENTS = {
    "sh": "#",
    "python": "#",
    "text": "#",
    "ini": "#",
    "js": "//",
    "go": "//",
    "java": "//",
    "xml": "\0",
}
_COMMENTS |= {"powershell": "#", "bat": "rem", "csharp": "//"}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    kind: str
    word: str
    language: str
    text: str


def blocks(language: str, page: str) -> list[Block]:
    """The blocks of a page, in their order."""
    text = (PAGES / language / f"{page}.md").read_text()
    return [
        Block(found["kind"] or "", found["word"] or "", found["language"], found["text"])
        for found in _BLOCK.finditer(text)
    ]


def code(block: Block) -> list[str]:
    """The lines of a block without comments."""
    lines = [
        re.split(rf"(?:^|\s){re.escape(_COMMENTS[block.language])}", line)[0]
        for line in block.text.splitlines()
    ]
    return [line.rstrip() for line in lines if line.strip()]


def first_messages(page: str) -> list[str]:
    """The messages that head a page's last table, of which each language has the same."""
    english, dutch = (
        re.findall(
            r"^\|---\|---\|\n\| (.*?) \|", (PAGES / language / f"{page}.md").read_text(), re.MULTILINE
        )[-1]
        for language in LANGUAGES
    )
    assert english == dutch
    return re.findall(r"`([^`]+)`", english)


# -- the pages themselves ---------------------------------------------------------------------------


def pages(language: str) -> set[str]:
    """The pages of a language, without the first one."""
    return {path.stem for path in (PAGES / language).glob("*.md")} - {"README"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_client_has_a_page_that_the_first_one_names(language):
    """No page is missing in a language, none is an orphan, and each leads back to the first."""
    assert pages(language) == set(PROGRAMS) | UNTRIED
    first = (PAGES / language / "README.md").read_text()
    assert {page for page in pages(language) if f"({page}.md)" in first} == pages(language)
    chooser = (PAGES / "README.md").read_text()
    assert all(f"({language}/{page}.md)" in chooser for page in [*pages(language), "README"])
    assert all("(README.md)" in (PAGES / language / f"{page}.md").read_text() for page in pages(language))


@pytest.mark.parametrize("path", sorted(PAGES.rglob("*.md")), ids=lambda path: str(path.relative_to(PAGES)))
def test_no_link_is_dead(path):
    """Every relative link leads to a file, and to an anchor that is in it."""
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text()):
        name, _, anchor = link.partition("#")
        target = (path.parent / name) if name else path
        assert target.exists(), link
        assert not anchor or f'id="{anchor}"' in target.read_text(), link


@pytest.mark.parametrize("page", ["README", *sorted(set(PROGRAMS) | UNTRIED)])
def test_both_languages_have_the_same_commands(page):
    """Apart from comments, and in the same order."""
    english, dutch = blocks("en", page), blocks("nl", page)
    assert [replace(block, text="") for block in english] == [replace(block, text="") for block in dutch]
    assert [code(block) for block in english] == [code(block) for block in dutch]


@pytest.mark.parametrize("page", sorted(PROGRAMS))
def test_every_block_of_a_page_is_used(page):
    """A block without a mark would be a command that nobody tried."""
    found = blocks("en", page)
    assert all(block.kind for block in found)
    assert {"key", "send", "list", "collect"} <= {block.word for block in found if block.kind == "run"}
    assert [block.kind for block in found].count("cron") == 1


# -- a partner's computer ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Desk:
    """A partner's computer with one client: a home folder, and what its page says."""

    page: str
    user: str
    home: Path
    #: what the administrator told: the port and the fingerprint of the host key
    port: int = 0
    fingerprint: str = FINGERPRINT

    @property
    def folder(self) -> Path:
        """Where the page works."""
        return self.home / "gateway"

    @property
    def file(self) -> str:
        """What it sends."""
        return f"signalen_{self.page}.csv"

    def fitted(self, text: str) -> str:
        """The page's text with what is real here: the only place where it is changed."""
        own_box = "returns" if self.user == CREDITOR else "outbox"
        for invented, real in (
            (PORT, str(self.port)),
            (HOST, "127.0.0.1"),
            (USER, self.user),
            (FINGERPRINT, self.fingerprint),
            (FILE, self.file),
            (" list returns\n", f" list {own_box}\n"),
            (" collect returns\n", f" collect {own_box}\n"),
        ):
            text = text.replace(invented, real)
        return text

    def save_files(self) -> None:
        """Save what the page says to save, and the first page's script."""
        for block in [*blocks("en", self.page), *blocks("en", "README")]:
            if block.kind == "file":
                path = self.folder / block.word
                path.write_text(self.fitted(block.text))
                path.chmod(0o700 if path.suffix == ".sh" else 0o600)

    def run(self, command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A command in a shell, without any settings of whoever runs the tests but the caches of toolchains."""
        kept = {name: value for name, value in os.environ.items() if name in {"LANG", "TMPDIR"}}
        node_modules = Path(sys.prefix) / "npm" / "node_modules"
        env = (
            kept
            | _caches()
            | _QUICK_JAVA
            | {"HOME": str(self.home), "PATH": PATH, "NODE_PATH": str(node_modules)}
        )
        return subprocess.run(
            ["bash", "-e", "-c", command],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            env=env,
            cwd=cwd or self.folder,
            timeout=100,
        )

    def step(self, name: str) -> list[subprocess.CompletedProcess[str]]:
        """Run the page's blocks of a step."""
        cwd = self.home if name == "key" else self.folder
        steps = [block for block in blocks("en", self.page) if (block.kind, block.word) == ("run", name)]
        return [self.run(self.fitted(block.text), cwd) for block in steps]

    def follow(self, *names: str) -> str:
        """Run steps, which must succeed; what they print."""
        done = [each for name in names for each in self.step(name)]
        for each in done:
            assert each.returncode == 0, each.stdout + each.stderr
        return "".join(each.stdout for each in done)


@cache
def _caches() -> dict[str, str]:
    """Where Go keeps what it fetched and built; Maven looks up the account's home folder itself."""
    if not shutil.which("go", path=PATH):
        return {}
    names, env = ("GOMODCACHE", "GOCACHE", "GOPROXY"), os.environ | {"PATH": PATH}
    found = subprocess.run(["go", "env", *names], check=True, capture_output=True, text=True, env=env)
    return dict(zip(names, found.stdout.splitlines(), strict=True))


def absent(page: str) -> list[str]:
    """The programs of a page that are not here."""
    missing = [program for program in PROGRAMS[page] if not shutil.which(program, path=PATH)]
    package = Path(sys.prefix) / "npm" / "node_modules" / "ssh2-sftp-client"
    return missing + ["ssh2-sftp-client"] * (page == "node" and not package.exists())


def needed(page: str) -> None:
    """Skip by name what is not here; fail where it is promised."""
    missing = absent(page)
    if missing:
        promised = os.environ.get("CI") == "true" and not set(missing) <= TOOLCHAINS
        (pytest.fail if promised else pytest.skip)(
            f"{', '.join(missing)} not here: docs/partners/en/{page}.md"
        )


# -- a gateway, and partners that did what the pages say ---------------------------------------------


@dataclass(frozen=True)
class Visit:
    """The gateway, and a desk for each page and user."""

    site: Any
    desks: dict[tuple[str, str], Desk]

    def state(self, delivery_id: str) -> str:
        """What the store says of a delivery."""
        database = self.site.folder / "home" / "data" / "gateway.db"
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
            return store.execute("SELECT state FROM delivery WHERE id = ?", [delivery_id]).fetchone()[0]


@pytest.fixture(scope="module")
def visit(served, tmp_path_factory) -> Iterator[Visit]:
    """Every partner made its key as its page says; the administrator added them all, then serves."""
    folder = tmp_path_factory.mktemp("guides")
    desks = {
        (page, user): Desk(page, user, folder / f"{page}-{user}")
        for page in PROGRAMS
        if not absent(page)
        for user in (CREDITOR, MUNICIPALITY)
    }
    for desk in desks.values():
        desk.home.mkdir()
        desk.follow("key")
    public_keys = {
        user: [desk.folder / "gateway_ed25519.pub" for desk in desks.values() if desk.user == user]
        for user in (CREDITOR, MUNICIPALITY)
    }
    with served(folder, public_keys) as site:
        fingerprint = site.host_key.removeprefix("SHA256:")
        told = {key: replace(desk, port=site.port, fingerprint=fingerprint) for key, desk in desks.items()}
        for desk in told.values():
            desk.save_files()
        yield Visit(site, told)
    shutil.rmtree(folder)


def signals(page: str, number: int) -> str:
    """A file of one signal."""
    return (
        "signaal_id;klantnummer;achternaam;postcode;huisnummer;sector;bedrag;dagen_achterstand;sociaal_incasso\n"
        f"{page}-{number};{page};Huizinga;7938PL;{number};Huur;600,00;60;J\n"
    )


@pytest.fixture(params=sorted(PROGRAMS))
def page(request) -> str:
    """Each page whose client is here."""
    needed(request.param)
    return request.param


def test_a_creditor_sends_and_a_municipality_collects(visit, page, until):
    """Received once, however often it is sent; the file for the municipality is the manifest's, and is gone then."""
    creditor, municipality = visit.desks[page, CREDITOR], visit.desks[page, MUNICIPALITY]
    content = signals(page, 1).encode()
    (creditor.folder / creditor.file).write_bytes(content)
    creditor.follow("pin", "fetch", "build", "send")
    sent = len([block for block in blocks("en", page) if (block.kind, block.word) == ("run", "send")])
    receipts = until(lambda: (found := visit.site.receipts(creditor.file))[sent - 1 :] and found)
    assert {receipt["sha256"] for receipt in receipts} == {hashlib.sha256(content).hexdigest()}
    states = sorted(visit.state(receipt["delivery_id"]) for receipt in receipts)
    assert states == ["processed"] + ["rejected"] * (sent - 1)
    assert [receipt["weigering"]["code"] for receipt in receipts if receipt["weigering"]] == ["F08"] * (
        sent - 1
    )

    manifest = visit.site.manifest()
    name = manifest["name"]
    if (creditor.folder / "lib").exists():  # what Maven fetched for the one serves the other
        shutil.copytree(creditor.folder / "lib", municipality.folder / "lib")
    listed = municipality.follow("pin", "build", "list")
    assert name in listed
    municipality.follow("collect")
    fetched = (municipality.folder / "collected" / name).read_bytes()
    assert hashlib.sha256(fetched).hexdigest() == manifest["sha256"]
    assert "Huizinga" in fetched.decode()
    assert not visit.site.listing(MUNICIPALITY, "outbox")
    left = {path.name for path in (municipality.folder / "collected").iterdir()}
    # the worklist of that month too
    lists = {each for each in left if each.startswith("werklijst_")}
    assert (len(lists), left - lists) == (2, {name, f"{name}.manifest.json"})


def test_it_runs_unattended(visit, page, until):
    """The crontab's line: what lay ready is sent and put away, and the receipts of it are collected."""
    desk = visit.desks[page, CREDITOR]
    (line,) = [block.text for block in blocks("en", page) if block.kind == "cron"]
    command = desk.fitted(line).split(maxsplit=5)[5]
    content = signals(page, 2).encode()
    (desk.folder / "outgoing").mkdir()
    (desk.folder / "outgoing" / "nacht.csv").write_bytes(content)
    done = desk.run(command, desk.home)
    assert done.returncode == 0, (desk.folder / "unattended.log").read_text()
    assert (desk.folder / "sent" / "nacht.csv").read_bytes() == content
    assert not list((desk.folder / "outgoing").iterdir())

    def collected() -> bool:
        told = [json.loads(path.read_text()) for path in (desk.folder / "collected").glob("ontvangst_*.json")]
        return hashlib.sha256(content).hexdigest() in {each["bestand"]["sha256"] for each in told}

    while not collected():  # its receipt may come after the gateway was visited
        until(lambda: visit.site.listing(CREDITOR, "returns"))
        done = desk.run(command, desk.home)
        assert done.returncode == 0, (desk.folder / "unattended.log").read_text()
    for path in (desk.folder / "collected").iterdir():
        assert path.name not in visit.site.listing(CREDITOR, "returns")


def test_another_host_key_is_refused(visit, page, tmp_path):
    """Pinning another fingerprint fails; with another key pinned, nothing is sent, and the client says why."""
    other = asyncssh.generate_private_key("ssh-ed25519")
    real = visit.desks[page, CREDITOR]
    shutil.copytree(real.home, tmp_path / "home")
    desk = replace(real, home=tmp_path / "home", fingerprint=other.get_fingerprint().removeprefix("SHA256:"))
    known_hosts = desk.folder / "known_hosts"
    if known_hosts.exists():
        before = known_hosts.read_text()
        assert [done.returncode for done in desk.step("pin")] == [1]
        assert known_hosts.read_text() == before
        public = other.export_public_key().decode().split()[1]
        known_hosts.write_text(re.sub(r"ssh-ed25519 \S+", f"ssh-ed25519 {public}", before))
    desk.save_files()
    (desk.folder / desk.file).write_text(signals(page, 3))
    sessions = visit.site.logged("session.ended"), visit.site.logged("login.failed")
    for done in desk.step("send"):
        assert done.returncode != 0
        # the page's first row of messages is this one
        assert any(told in done.stdout + done.stderr for told in first_messages(page)), (
            done.stdout + done.stderr
        )
    assert (visit.site.logged("session.ended"), visit.site.logged("login.failed")) == sessions


def test_what_was_not_sent_stays(tmp_path):
    """A command that fails leaves its file where it lay, and unattended.sh tells of it by its exit code."""
    desk = Desk("openssh", CREDITOR, tmp_path)
    (desk.folder / "outgoing").mkdir(parents=True)
    (desk.folder / "outgoing" / "one.csv").touch()
    desk.save_files()
    assert desk.run("./unattended.sh false").returncode == 1
    assert (desk.folder / "outgoing" / "one.csv").exists()
    assert desk.run("./unattended.sh true").returncode == 0
    assert (desk.folder / "sent" / "one.csv").exists()


@pytest.mark.parametrize(
    ("ci", "page_name", "outcome"),
    [
        pytest.param("true", "lftp", pytest.fail.Exception, id="a promised client fails"),
        pytest.param(
            "true", "go", pytest.fail.Exception, id="as does what its page needs beside a toolchain"
        ),
        pytest.param("", "lftp", pytest.skip.Exception, id="elsewhere it is skipped"),
    ],
)
def test_what_is_not_here_is_named(monkeypatch, ci, page_name, outcome):
    """Skipped by name, or failed where it is promised."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(shutil, "which", lambda *_args, **_told: None)
    with pytest.raises(outcome, match=f"ssh-keyscan not here: docs/partners/en/{page_name}.md"):
        needed(page_name)


def test_a_toolchain_is_promised_by_nobody(monkeypatch):
    """Java and Go are used where they are, and skipped by name in CI as well."""
    monkeypatch.setenv("CI", "true")
    which = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, **told: None if name in TOOLCHAINS else which(name, **told)
    )
    for page_name, missing in (("go", "go"), ("jsch", "mvn, javac")):
        with pytest.raises(pytest.skip.Exception, match=f"^{missing} not here"):
            needed(page_name)
