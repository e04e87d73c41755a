"""`gateway demo`: a whole gateway on loopback, three months of uploads, and everything gone six months later."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gateway import logs
from gateway.cli import demo_screen, municipality, partner
from gateway.cli.change import add_file
from gateway.cli.init import make_home
from gateway.demo import collected, explanation, proof
from gateway.demo.cast import COLLECTORS, CREDITORS, MONTHS, MUNICIPALITIES
from gateway.demo.client import Client, make_client
from gateway.demo.residents import reference_table
from gateway.demo.run import Stage, Tick, days
from gateway.demo.uploads import Upload, invent_uploads
from gateway.domain.partner import Role
from gateway.settings import Home
from gateway.store.reference import load as load_table

#: The melding that is explained, and the file of which a part is shown, are this municipality's.
SHOWN = "GM1731"
#: The widest that is printed, in columns.
WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The folder of one demo."""

    root: Path
    home: Home
    creditors: list[Client]
    collectors: list[Client]

    @property
    def clients(self) -> list[Client]:
        """All partners' computers."""
        return [*self.creditors, *self.collectors]

    @property
    def log(self) -> Path:
        """What the daemon logs."""
        return self.root / "gateway.log"


def demo() -> None:
    """Show all of it in a minute: uploads, matching, outbox, destruction. Invented residents; nothing to set up."""
    began = time.monotonic()
    console = _console()
    demo_screen.show_opening(console)
    place = _prepare(Path(tempfile.mkdtemp(prefix="gateway-demo-")))
    uploads = invent_uploads()
    with place.log.open("w", encoding="utf-8") as log, _progress(console) as tell:
        logs.set_up(json=True, stream=log)
        story = asyncio.run(_play(place, uploads, tell))
    demo_screen.show_story(console, place.root, story)
    demo_screen.show_end(console, place.root, story, time.monotonic() - began)
    if not all(claim.holds for claim in story.claims):
        raise typer.Exit(1)


def _prepare(root: Path) -> Place:
    """A home with its partners and policies, made as `gateway init`, `partner add` and so on make them."""
    place = Place(
        root=root,
        home=Home(root=root / "home"),
        creditors=[make_client(root / "partners", creditor.id) for creditor in CREDITORS],
        collectors=[make_client(root / "partners", collector.id) for collector in COLLECTORS],
    )
    make_home(place.home)
    for each in MUNICIPALITIES:
        text = municipality.render(each.code, each.preset)
        add_file(place.home, f"config/municipalities/{each.code}.toml", text)
    for creditor, client in zip(CREDITORS, place.creditors, strict=True):
        text = _partner_file(client, Role.CREDITOR, creditor.name, ("sectors", [creditor.sector]))
        # as an administrator would: its own header for our klantnummer, taken out of the comment
        own = f'"{creditor.customer_column}" = "klantnummer"'
        add_file(place.home, f"config/partners/{client.partner_id}.toml", text.replace(f"# {own}", own))
    for collector, client in zip(COLLECTORS, place.collectors, strict=True):
        text = _partner_file(client, Role.MUNICIPALITY, collector.name, ("serves", list(collector.serves)))
        add_file(place.home, f"config/partners/{client.partner_id}.toml", text)
    load_table(place.home.reference, reference_table())
    return place


def _partner_file(client: Client, role: Role, name: str, own: tuple[str, list[str]]) -> str:
    return partner.render(
        client.partner_id,
        role,
        name=name,
        contact="",
        language="nl",
        own=[own],
        keys=[partner.read_key(client.public_key)],
    )


async def _play(place: Place, uploads: list[Upload], tell: Callable[[Tick], None]) -> demo_screen.Story:
    """Run the gateway through its nine months, and look at it on the way."""
    stage = Stage(place.home.root, place.clients, tell)
    await stage.start()
    try:
        await stage.three_months(uploads)
        explained = explanation.explain(stage.gateway, SHOWN, f"{MONTHS[-1]:%Y-%m}")
        words = proof.planted(uploads)
        held = proof.search(place.home.root, words)
        await stage.six_months_more()
    finally:
        await stage.stop()
    destruction = proof.destruction(stage.gateway)
    claims = proof.claims(
        stage.gateway,
        uploads,
        place.creditors,
        place.collectors,
        held=held,
        gone=proof.search(place.home.root, words),
        control=proof.search(place.root / "partners", words),
        left=destruction.left,
    )
    return demo_screen.Story(
        returned=[collected.returned(client) for client in place.creditors],
        found=collected.found(place.collectors),
        explained=explained,
        outbox=collected.outbox(place.collectors, SHOWN),
        destruction=destruction,
        claims=claims,
    )


def _console() -> Console:
    """At most 100 columns, however wide the window is."""
    return Console(highlight=False, width=min(WIDTH, Console().width) if sys.stdout.isatty() else WIDTH)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[Tick], None]]:
    """A progress bar over the days; gone when they are over, and absent where nobody watches."""
    with Progress(
        TextColumn("[bold]{task.fields[day]}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=days(), day="", done="")

        def tell(tick: Tick) -> None:
            bar.update(
                task,
                completed=(tick.day - MONTHS[0]).days + 1,
                day=f"{tick.day:%d %b %Y}",
                done=f"{tick.uploads} uploads · {tick.rows:,} rows · {tick.collected} files collected",
            )

        yield tell
