"""`gateway demo`: a whole gateway on loopback, three months of uploads, and everything gone six months later.

With `--keep` it stops before anything is gone, and serves: on the real clock, for a visitor to walk around in.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gateway import logs, supervisor
from gateway.cli import demo_screen, demo_visit, municipality, partner, partner_keys
from gateway.cli.change import add_file
from gateway.cli.init import make_home
from gateway.clock import Clock, SystemClock, local_day
from gateway.demo import collected, explanation, proof
from gateway.demo.cast import (
    AUDITOR,
    COLLECTORS,
    CREDITORS,
    MONTHS,
    MUNICIPALITIES,
    months_until,
)
from gateway.demo.client import Client, make_client
from gateway.demo.residents import reference_table
from gateway.demo.run import GONE_ON, LAST_MONTH_ENDS, Stage, Tick
from gateway.demo.uploads import Upload, invent_sample, invent_uploads
from gateway.domain.partner import Role
from gateway.errors import ConfigError
from gateway.gateway import open_gateway
from gateway.settings import Home
from gateway.store.reference import load as load_table
from gateway.vault.durable import place_file

#: The melding that is explained, and the file of which a part is shown, are this municipality's.
SHOWN = "GM1731"
#: The creditor that a visitor can be: it has customers there.
VISITED = CREDITORS[0]
#: The widest that is printed, in columns.
WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The folder of one demo."""

    root: Path
    home: Home
    creditors: list[Client]
    collectors: list[Client]
    auditors: list[Client]

    @property
    def clients(self) -> list[Client]:
        """All partners' computers."""
        return [*self.creditors, *self.collectors, *self.auditors]

    @property
    def log(self) -> Path:
        """What the daemon logs."""
        return self.root / "gateway.log"


def demo(
    *,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Leave it running in this new or empty folder, with commands to look around as each of its users.",
        ),
    ] = None,
) -> None:
    """Show all of it in a minute: uploads, matching, outbox, destruction. Invented residents; nothing to set up."""
    if keep is None:
        _show()
    else:
        _keep(keep.resolve())


def _show() -> None:
    """Nine months, and what came of them."""
    began = time.monotonic()
    console = _console()
    demo_screen.show_opening(console)
    place = _prepare(Path(tempfile.mkdtemp(prefix="gateway-demo-")))
    uploads = invent_uploads()
    with place.log.open("w", encoding="utf-8") as log, _progress(console, MONTHS[0], GONE_ON) as tell:
        logs.set_up(json=True, stream=log)
        story = asyncio.run(_play(place, uploads, tell))
    demo_screen.show_story(console, place.root, story)
    demo_screen.show_end(console, place.root, story, time.monotonic() - began)
    if not all(claim.holds for claim in story.claims):
        raise typer.Exit(1)


def _keep(root: Path) -> None:
    """The last three months up to yesterday, and then `gateway serve`.

    Raises:
        ConfigError: the folder is in use.
    """
    _check_free(root)
    console = _console()
    demo_visit.show_opening(console, root)
    place = _prepare(root, has_auditor=True)
    clock = SystemClock()
    today = local_day(clock.now())
    months = months_until(today)
    uploads = [upload for upload in invent_uploads(months=months) if upload.day < today]
    with place.log.open("w", encoding="utf-8") as log:
        logs.set_up(json=True, stream=log)
        with _progress(console, months[0], today) as tell:
            stage = Stage(place.home.root, place.clients, tell, first=months[0])
            port = asyncio.run(_play_up_to_now(stage, uploads, clock))
        visit = _visit(place, port, stage.tick, invent_sample(VISITED, SHOWN, months, today))
        gateway = open_gateway(place.home.root)
        try:
            supervisor.serve(gateway, on_ready=partial(demo_visit.show_visit, console, visit))
        finally:
            gateway.close()
    demo_visit.show_end(console, visit)


async def _play_up_to_now(stage: Stage, uploads: list[Upload], clock: Clock) -> int:
    """Days with uploads; the port that was free, which is the gateway's from then on."""
    await stage.start()
    try:
        home, port = stage.gateway.home, stage.port
        text = home.gateway_file.read_text("utf-8").replace('# host = "0.0.0.0"  ', 'host = "127.0.0.1"')
        place_file(home.gateway_file, text.replace("# port = 2222", f"port = {port}").encode(), mode=0o644)
        await stage.exchange(uploads, local_day(clock.now()) - timedelta(days=1))
        await stage.up_to(clock.now())
        return port
    finally:
        await stage.stop()


def _visit(place: Place, port: int, played: Tick, sample: Upload) -> demo_visit.Visit:
    """What a visitor is told; the sample is put ready."""
    by_id = {client.partner_id: client for client in place.clients}
    creditor = by_id[sample.creditor_id]
    (creditor.folder / sample.name).write_bytes(sample.data)
    serving = next(each for each in COLLECTORS if SHOWN in each.serves)
    return demo_visit.Visit(
        root=place.root,
        port=port,
        creditor=creditor,
        sample=sample.name,
        municipality=by_id[serving.id],
        auditor=by_id[AUDITOR.id],
        played=played,
    )


def _check_free(root: Path) -> None:
    if (root / "home").is_dir():
        raise ConfigError(
            f"a demo lies in {root} already, and nothing was changed: start it again with "
            f"`gateway --home {root / 'home'} serve`, or name a new or empty folder"
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ConfigError(f"{root} is not empty, and nothing was changed: name a new or empty folder")


def _prepare(root: Path, *, has_auditor: bool = False) -> Place:
    """A home with its partners and policies, made as `gateway init`, `partner add` and so on make them."""
    place = Place(
        root=root,
        home=Home(root=root / "home"),
        creditors=[make_client(root / "partners", creditor.id) for creditor in CREDITORS],
        collectors=[make_client(root / "partners", collector.id) for collector in COLLECTORS],
        auditors=[make_client(root / "partners", AUDITOR.id)] if has_auditor else [],
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
    for client in place.auditors:
        text = _partner_file(client, Role.AUDITOR, AUDITOR.name, ("scope", ["all"]))
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
        keys=[partner_keys.read_key(client.public_key)],
    )


async def _play(place: Place, uploads: list[Upload], tell: Callable[[Tick], None]) -> demo_screen.Story:
    """Run the gateway through its nine months, and look at it on the way."""
    stage = Stage(place.home.root, place.clients, tell, first=MONTHS[0])
    await stage.start()
    try:
        await stage.exchange(uploads, LAST_MONTH_ENDS)
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
def _progress(console: Console, first: date, last: date) -> Iterator[Callable[[Tick], None]]:
    """A progress bar over the days from the first to the last; gone when they are over, and absent where nobody watches."""
    with Progress(
        TextColumn("[bold]{task.fields[day]}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=(last - first).days + 1, day="", done="")

        def tell(tick: Tick) -> None:
            bar.update(
                task,
                completed=(tick.day - first).days + 1,
                day=f"{tick.day:%d %b %Y}",
                done=f"{tick.uploads} uploads · {tick.rows:,} rows · {tick.collected} files collected",
            )

        yield tell
