"""`gateway demo --keep`: what a visitor is told, as commands to paste, for each of the four users."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from gateway.demo.client import Client
from gateway.demo.run import Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A demo that runs: its folder, where partners come in, and who of them a visitor can be."""

    root: Path
    port: int
    creditor: Client
    #: the name of a file in the creditor's folder, ready to be uploaded
    sample: str
    municipality: Client
    auditor: Client
    #: what went over the line before the visit
    played: Tick


def show_opening(console: Console, root: Path) -> None:
    """What is going to happen."""
    console.print("\n[bold]Gateway, to walk around in[/]\n")
    console.print(
        "Six municipalities and eleven creditors; three months of uploads up to yesterday, in half a minute. Then "
        f"the gateway goes on with the real clock, and you can come in. Its folder: {escape(str(root))}"
    )


def show_visit(console: Console, visit: Visit) -> None:
    """The commands for each of the four."""
    played = visit.played
    console.print(
        f"\n[bold green]✓[/] It runs. Before you came {played.uploads} uploads with {played.rows:,} rows, and "
        f"{played.collected} files were collected.\nPaste in a second terminal. What stands after sftp> is for its "
        "prompt; a # and what follows it is a comment there too."
    )
    _creditor(console, visit)
    _municipality(console, visit)
    _auditor(console, visit)
    _administrator(console, visit)
    console.print("\n[bold]Ctrl-C stops it[/]; afterwards")
    _show_afterwards(console, visit)


def show_end(console: Console, visit: Visit) -> None:
    """It has stopped: how to go on."""
    console.print("\n[bold green]✓[/] Stopped; nothing is lost")
    _show_afterwards(console, visit)


def _creditor(console: Console, visit: Visit) -> None:
    _head(console, "A creditor", "Veenrand Wonen, a landlord")
    _come_in(console, visit, visit.creditor)
    _session(
        console,
        {
            "ls -ltr returns": "receipts, and what became of each signal",
            f"put {visit.sample} inbox/": "two signals, a crisis, and a postcode that is none",
            "ls -l inbox": "its name and size: nobody reads it back, not even you",
            "get returns/* received/": "its receipt, at once; some ten seconds later its statuses",
            "bye": "",
        },
    )


def _municipality(console: Console, visit: Visit) -> None:
    _head(console, "A municipality", "Midden-Drenthe, which writes and visits")
    _come_in(console, visit, visit.municipality)
    _session(
        console,
        {
            "ls -ltr outbox": "newest last: soon after your upload, what came of it",
            "get outbox/* received/": "each with a manifest that has its SHA-256",
            "bye": "",
        },
    )


def _auditor(console: Console, visit: Visit) -> None:
    _head(console, "An auditor", "Bureau Toezicht, which looks at what is kept and at what was let go")
    _come_in(console, visit, visit.auditor)
    _session(
        console,
        {
            "ls -l audit": "the log, certificates of destruction, registers",
            "get -r audit received/": "all of it",
            "bye": "",
        },
    )
    _commands(console, {"python3 received/audit/log/verify_log.py": "the log is whole; needs no gateway"})


def _administrator(console: Console, visit: Visit) -> None:
    _head(console, "The administrator", "sees ids, codes and dates, and never a name")
    told = {
        "status": "all at a glance",
        "deliveries list": "what was received",
        "ledger check": "every signal is accounted for",
        "audit verify": "the log is whole",
        "retention due": "what goes when",
        "doctor": "what is wrong on this host",
    }
    _commands(
        console,
        {f"cd {_word(visit.root)}": ""}
        | {f"{_program()} --home home {verbs}": why for verbs, why in told.items()}
        | {"tail gateway.log": "what the daemon logs"},
    )


def _show_afterwards(console: Console, visit: Visit) -> None:
    _commands(
        console,
        {
            f"{_program()} --home {_word(visit.root / 'home')} serve": "the same again",
            f"rm -r {_word(visit.root)}": "all of it",
        },
    )
    console.print()


def _head(console: Console, who: str, what: str) -> None:
    console.print(f"\n[bold]{who}[/]: {what}\n")


def _come_in(console: Console, visit: Visit, client: Client) -> None:
    """From the partner's own folder, where its key lies."""
    _commands(console, {f"cd {_word(client.folder)}": ""})
    _command(console, f"sftp -P {visit.port} -o IdentitiesOnly=yes -i {client.private_key.name} \\")
    _command(console, f"     -o UserKnownHostsFile={client.known_hosts.name} {client.partner_id}@127.0.0.1")


def _session(console: Console, told: Mapping[str, str]) -> None:
    _commands(console, told, before="[dim]sftp>[/] ")


def _commands(console: Console, told: Mapping[str, str], *, before: str = "") -> None:
    """Commands, each with its reason as a comment, to the shell and to sftp alike."""
    width = max(map(len, told))
    for command, why in told.items():
        _command(console, f"{command:<{width}}" if why else command, before=before, why=why)


def _command(console: Console, command: str, *, before: str = "", why: str = "") -> None:
    # never cut or wrapped: a line is pasted whole
    reason = f"  [dim]# {why}[/]" if why else ""
    console.print(f"  {before}[cyan]{escape(command)}[/]{reason}", soft_wrap=True)


def _program() -> str:
    """How the gateway is called from another terminal, where no virtual environment is active."""
    called = Path(sys.argv[0]).absolute()
    return shlex.join([sys.executable, "-m", "gateway"] if called.name == "__main__.py" else [str(called)])


def _word(path: Path) -> str:
    return shlex.quote(str(path))
