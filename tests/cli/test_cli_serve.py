"""`gateway serve`: ready, one a home, stopped in order, and nothing started that can't be."""

from __future__ import annotations

import os
import signal

from gateway.exchange.keys import host_key_fingerprint
from gateway.running import running
from gateway.settings import Home, load_settings


def test_ready_tells_where_it_listens_and_who_it_is(house):
    """`gateway.json` holds port, pid and host key, and a real client gets in there."""
    told = house.serve()
    assert house.daemon
    fingerprint = host_key_fingerprint(house.home / "keys/host_ed25519")
    assert told == {
        "port": told["port"],
        "pid": house.daemon.pid,
        "host_key": fingerprint,
        "generation": 1,
        "config": load_settings(house.home).digest,
    }
    assert "inbox" in house.sftp("woonservice", "ls -1")
    ready = [event for event in house.events() if event["event"] == "gateway.ready"]
    assert [(event["port"], event["pid"], event["host_key"]) for event in ready] == [
        (told["port"], told["pid"], told["host_key"])
    ]


def test_a_legacy_listener_beside_it(house):
    """It is there when it has a port, with a host key of its own kind; its port is told, and knocked at."""
    own = house.home / "config/gateway.toml"
    own.write_text(own.read_text().replace("#port = 2223", "port = 0"))
    told = house.serve()
    daemon = house.json("status")["daemon"]
    assert [daemon[name] for name in ("port", "legacy_port")] == [told["port"], told["legacy_port"]]
    assert told["legacy_port"] != told["port"]
    assert [key["kind"] for key in house.json("status")["host_keys"]] == [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
    ]
    health = house.run("health")
    assert (health.code, f"ports {told['port']} and {told['legacy_port']}" in health.out) == (0, True)
    keys = house.run("keys", "host", "status")
    assert "ecdsa-sha2-nistp256" in keys.out


def test_sigterm_ends_it_in_order(house):
    """SIGTERM: exit 0, the status file gone, the log of what happened signed."""
    house.serve()
    assert house.stop(signal.SIGTERM) == 0
    assert not house.status_file.exists()
    assert house.events()[-1]["event"] == "gateway.stopped"
    assert house.json("audit", "verify")["unsequenced"] == 0


def test_a_second_daemon_is_refused(house):
    """One daemon a home: the second says so and leaves the first alone."""
    told = house.serve()
    second = house.run("serve", "--port", "0")
    assert (second.code, second.out) == (2, "")
    assert "a gateway runs on" in second.err
    assert running(Home(root=house.home)).pid == told["pid"]
    assert "inbox" in house.sftp("woonservice", "ls -1")


def test_a_killed_daemon_does_not_count_as_running(house):
    """What kill -9 leaves says nothing: another daemon starts, and is told from the dead one."""
    house.serve()
    house.stop(signal.SIGKILL)
    assert house.status_file.exists()
    assert running(Home(root=house.home)) is None
    assert "does not run" in house.run("status").out
    again = house.serve()
    assert running(Home(root=house.home)).pid == again["pid"]


def test_a_wrong_configuration_starts_nothing(house):
    """All problems are told together with file, key and reason; exit 2 and no trace of a daemon."""
    (house.home / "config/gateway.toml").write_text('[retention]\nsignals = "six"\ncolour = "red"\n')
    refused = house.run("serve", "--port", "0")
    assert refused.code == 2
    assert "2 problems in the configuration" in refused.err
    for words in ("config/gateway.toml", "retention.signals", "retention.colour"):
        assert words in refused.err
    assert list((house.home / "data/run").iterdir()) == []


def test_a_readable_key_starts_nothing(house):
    """A host key that others can read is refused, with the command that mends it; exit 12."""
    (house.home / "keys/host_ed25519").chmod(0o644)
    refused = house.run("serve", "--port", "0")
    assert refused.code == 12
    assert "chmod 600" in refused.err
    assert not house.status_file.exists()


def test_a_taken_port_is_told(house):
    """A port that somebody has: exit 2, with what to do."""
    port = str(house.serve()["port"])
    other = house.path / "other"
    assert house.run("init", other).code == 0
    refused = house.run("--home", other, "serve", "--host", "127.0.0.1", "--port", port)
    assert refused.code == 2
    assert "name another with --port, or 0 for a free one" in refused.err


def test_what_the_daemon_writes_is_its_owners_only(house):
    """Sealed files and journals are readable by nobody else, whatever the umask."""
    before = os.umask(0)
    try:
        house.serve()
    finally:
        os.umask(before)
    file = house.write("signalen.csv", "s1;Huur;k1;Bakker;7938PL;18;600;60;J")
    house.sftp("woonservice", f"put {file} inbox/")
    assert house.run("wait", "--idle", "--timeout", "30").code == 0
    files = [path for path in (house.home / "data").rglob("*") if path.is_file()]
    assert len(files) > 4
    open_files = {path.name for path in files if path.stat().st_mode & 0o077}
    assert open_files == {"gateway.json"}
