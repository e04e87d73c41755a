"""What the demo shows when it is over: tables of what partners collected, and of what became of it."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from gateway.cli.match_explain import rank_cell
from gateway.demo import collected
from gateway.demo.cast import CREDITORS, MUNICIPALITIES
from gateway.demo.collected import Found, Returned
from gateway.demo.explanation import Explanation
from gateway.demo.proof import Claim, Destruction
from gateway.domain.codes import FILE_ERRORS, ROW_ERRORS, STATUS_TEXTS, WARNINGS, StatusCode
from gateway.domain.melding import Klasse, Rule
from gateway.files.cells import euros

#: The statuses that have a column of their own; the list below the table tells of all.
_COLUMNS = (StatusCode.PASSED_ON, StatusCode.PASSED_ON_AGAIN, StatusCode.WITHDRAWN)
#: The receipts' sums, with the head of their column.
_SUMS = {
    "regels": "rows",
    "signalen": "N",
    "wijzigingen": "W",
    "intrekkingen": "I",
    "afgekeurd": "afge-\nkeurd",
    "dubbel": "dub-\nbel",
}
#: Part of an outbox file: so many meldingen.
_SHOWN_MELDINGEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that is shown."""

    #: in the order of CREDITORS
    returned: Sequence[Returned]
    #: by municipality code
    found: Mapping[str, Found]
    explained: Explanation
    #: collected files of the municipality whose melding is explained, in order
    outbox: Sequence[Path]
    destruction: Destruction
    claims: Sequence[Claim]


def show_opening(console: Console) -> None:
    """What is going to happen."""
    console.print("\n[bold]Gateway, from the first upload to the last key[/]\n")
    console.print(
        f"A gateway on loopback with {len(MUNICIPALITIES)} municipalities and {len(CREDITORS)} creditors. They "
        "come in over the network with OpenSSH's sftp, each with a key of its own. The addresses are real, the "
        "residents and creditors are invented. The gateway's clock runs three months ahead, and then six more.\n"
    )


def show_story(console: Console, root: Path, story: Story) -> None:
    """The tables, in the order of events."""
    _show_returned(console, story.returned)
    _show_found(console, story.found)
    _show_explained(console, story.explained)
    _show_outbox(console, story.outbox)
    _show_destruction(console, story.destruction)
    _show_claims(console, story.claims)
    _show_places(console, root)


def show_end(console: Console, root: Path, story: Story, seconds: float) -> None:
    """What can be done next."""
    _head(console, "What to do next")
    gateway = f"{_program()} --home {root / 'home'}"
    steps = (
        (f"{gateway} partner list", "who took part"),
        (f"{gateway} retention log", "every purge"),
        (f"{gateway} audit verify", "the log again"),
        (f"rm -r {root}", "all of this demo"),
        (f"{_program()} init ~/gateway", "one of your own: README.md"),
    )
    width = max(len(command) for command, _ in steps)
    for command, why in steps:
        console.print(f"  [cyan]{escape(command):<{width}}[/]  [dim]{why}[/]", soft_wrap=True)
    failed = [claim for claim in story.claims if not claim.holds]
    mark = "[bold green]✓[/]" if not failed else "[bold red]✗[/]"
    outcome = (
        "every claim holds" if not failed else f"{len(failed)} of {len(story.claims)} claims do not hold"
    )
    console.print(f"\n{mark} Nine months in {seconds:.0f} seconds; {outcome}.\n")


def _program() -> str:
    """How the gateway is called from here: it may be in a virtual environment that is not active."""
    if shutil.which("gateway"):
        return "gateway"
    called = Path(sys.argv[0]).absolute()
    if called.name == "__main__.py":
        return "python -m gateway"
    return str(called.relative_to(Path.cwd())) if called.is_relative_to(Path.cwd()) else str(called)


# -- tables ----------------------------------------------------------------------------------------


def _show_returned(console: Console, returned: Sequence[Returned]) -> None:
    _head(
        console,
        "1  What each creditor got back",
        "From the receipts (ontvangst) and statuses (signaalstatus) that they collected from /returns.",
    )
    shown = _table("creditor", "sector", ">files", *(f">{title}" for title in _SUMS.values()))
    for code in _COLUMNS:
        shown.add_column(code.value, justify="right", style="cyan")
    shown.add_column("refused", style="yellow")
    total: Counter[str] = Counter()
    for creditor, back in zip(CREDITORS, returned, strict=True):
        counts = {"files": back.files, **back.sums, **back.statuses}
        total.update(counts)
        shown.add_row(escape(creditor.name), creditor.sector, *_counts(counts), " ".join(back.refused))
    shown.add_section()
    shown.add_row("all", "", *_counts(total), "", style="bold")
    console.print(shown)
    console.print()
    console.print(_codes(returned))


def _counts(counts: Mapping[str, int]) -> Iterable[str]:
    return (_number(counts.get(name, 0)) for name in ("files", *_SUMS, *_COLUMNS))


def _codes(returned: Sequence[Returned]) -> Table:
    """What the codes mean, with how often each was given."""
    given: Counter[str] = Counter()
    for back in returned:
        given.update(back.remarks)
        given.update(back.refused)
        given.update(back.statuses)
    statuses = {code.value: text for code, text in STATUS_TEXTS.items()}
    texts = {**ROW_ERRORS, **WARNINGS, **FILE_ERRORS, **statuses}
    entries = [
        (f"{given[code]:,}", code, texts[code])
        for code in sorted(given, key=lambda code: ("DFVW".index(code[0]), code))
    ]
    half = (len(entries) + 1) // 2
    shown = Table.grid(padding=(0, 1))
    for width in (47, 32):
        shown.add_column(justify="right", style="dim", min_width=5)
        shown.add_column(style="cyan")
        shown.add_column(no_wrap=True, width=width)
    for left, right in zip(entries[:half], [*entries[half:], ("", "", "")], strict=False):
        shown.add_row(*left, *right)
    return shown


def _show_found(console: Console, found: Mapping[str, Found]) -> None:
    _head(
        console,
        "2  What each municipality found",
        "From the files that were collected from /outbox: each melding in its last version.\n"
        "Presets: midden-drenthe, vps for Dronten, nwf for the last four, for whom one partner collects.",
    )
    shown = _table("municipality", ">files", ">signals", ">mel-\ndingen")
    shown.add_column("MATCH", justify="right", style="bold")
    rules = {
        Rule.MULTIPLE: "MEER-\nVOUDIG",
        Rule.CONSECUTIVE_MONTHS: "OPEENV.\nMAANDEN",
        Rule.BRIDGING: "GATEN\nDICHTEN",
        Rule.CRISIS: "CRISIS",
    }
    for title in rules.values():
        shown.add_column(title, justify="right", style="cyan")
    for title in ("ENKEL-\nVOUDIG", "VER-\nVALLEN"):
        shown.add_column(title, justify="right")
    for municipality in MUNICIPALITIES:
        each = found[municipality.code]
        shown.add_row(
            municipality.name,
            *map(_number, (each.files, each.signals, each.meldingen, each.klassen[Klasse.MATCH])),
            *(_number(each.rules[rule]) for rule in rules),
            *(_number(each.klassen[klasse]) for klasse in (Klasse.SINGLE, Klasse.LAPSED)),
        )
    console.print(shown)


def _show_explained(console: Console, explained: Explanation) -> None:
    melding, content = explained.melding, explained.content
    ranking = explained.ranking
    own = ranking.own
    _head(
        console,
        "3  One melding explained",
        f"{melding.id} of {explained.policy.name}, {melding.month}, versie {melding.version}.\n"
        "The administrator's view: names and addresses are sealed.",
    )
    shown = _table("signal of", "sector", "month", "signaaldatum", ">bedrag")
    for rule in explained.grounds:
        shown.add_column(rule.value, justify="center", style="green")
    for signal in explained.signals:
        held = ("✓" if signal.ref in refs else "" for refs in explained.grounds.values())
        cells = (
            signal.creditor,
            signal.sector,
            signal.month,
            str(signal.signalled_on),
            euros(signal.amount_cents),
        )
        shown.add_row(*cells, *held, style="" if signal.month == melding.month else "dim")
    console.print(shown)
    console.print(
        f"\nklasse [bold]{content.klasse}[/] · totaalbedrag [bold]{euros(content.total_cents)}[/] · rang "
        f"[bold]{own.rank}[/] of {ranking.matches} · voorstel_actie [bold]{escape(explained.action)}[/]\n"
    )
    compared = _table("the policy compares, in this order")
    neighbours = [each for each in (ranking.above, own, ranking.below) if each]
    for each in neighbours:
        title = "this melding" if each is own else each.id
        compared.add_column(
            f"rang {each.rank}\n{title}", justify="right", style="bold" if each is own else ""
        )
    for name in own.values:
        compared.add_row(escape(name), *(rank_cell(each, name) for each in neighbours))
    console.print(compared)
    console.print("[yellow]←[/] [dim]the first value that differs decides[/]")


def _show_outbox(console: Console, paths: Sequence[Path]) -> None:
    path = max(paths, key=lambda each: (sum(1 for _ in collected.lines(each)), each.name))
    lines = collected.lines(path)
    _head(
        console,
        "4  Part of an outbox file",
        f"{path.name} on the municipality's own computer: {len(lines)} lines, {len(lines[0])} columns.\n"
        "The addresses are real, nobody in it exists.",
    )
    columns = ("partner", "bedrag", "achternaam", "postcode", "huisnummer")
    shown = _table(
        ">rang",
        "matchregels",
        "voorstel_\nactie",
        "partner",
        ">bedrag",
        "achternaam",
        "postcode",
        ">huis-\nnummer",
    )
    # neighbours at one number are a story of their own
    one_address = (line["melding_id"] for line in lines if line["meerdere_adressen"] == "N")
    for melding_id in list(dict.fromkeys(one_address))[:_SHOWN_MELDINGEN]:
        group = [line for line in lines if line["melding_id"] == melding_id]
        # what is told of the melding stands on each line of the file; here once, a rule on a line
        head = [(group[0]["rang"], rule, "") for rule in group[0]["matchregels"].split("+")]
        head[0] = (*head[0][:2], group[0]["voorstel_actie"])
        for at, line in enumerate(group):
            rank, rule, action = head[at] if at < len(head) else ("", "", "")
            cells = (line[name] for name in columns)
            shown.add_row("" if at else rank, rule, action, *map(escape, cells))
    console.print(shown)


def _show_destruction(console: Console, destruction: Destruction) -> None:
    _head(
        console,
        "5  Six months later",
        "What the nightly purge let go. A received file is kept 14 days, a signal six months. With the key\n"
        "of its day, whatever was sealed under it can't be opened any more, not even in a backup.",
    )
    by_month = destruction.by_month
    titles = _spans(list(by_month))
    shown = _table("", *(f">{title}" for title in titles))
    shown.add_column("left", justify="right", style="bold")
    for kind, text in _KINDS.items():
        counts = [sum(by_month[month][kind] for month in months) for months in titles.values()]
        shown.add_row(text, *map(_number, counts), f"{destruction.left[kind]:,}")
    console.print(shown)
    if destruction.left["dispatches"] == destruction.reports > 0:
        console.print(
            f"[dim]The {destruction.reports} files that are left are aanleveroverzichten: who sent how much, and no "
            "resident.[/]"
        )


_KINDS = {
    "raws": "received files",
    "dispatches": "outgoing files",
    "signals": "signals",
    "meldingen": "meldingen",
    "tokens": "index tokens",
    "data_keys": "wrapped data keys",
    "keys": "keys of days and months",
}


def _spans(months: Sequence[str]) -> dict[str, Sequence[str]]:
    """Columns: the months of delivery and waiting together, each month of destruction by itself."""
    early, late = months[:-4], months[-4:]
    first = {f"{early[0]} … {early[-1]}": early} if early else {}
    return first | {month: [month] for month in late}


def _show_claims(console: Console, claims: Sequence[Claim]) -> None:
    _head(console, "6  What that proves")
    shown = Table.grid(padding=(0, 2))
    for claim in claims:
        mark = "[bold green]✓[/]" if claim.holds else "[bold red]✗[/]"
        shown.add_row(mark, claim.text, f"[dim]{claim.figures}[/]")
    console.print(shown)


def _show_places(console: Console, root: Path) -> None:
    _head(console, "7  Where it all lies")
    tree = Tree(f"[bold]{escape(str(root))}[/]", guide_style="dim")
    home = tree.add("home/ [dim]the gateway's folder, as gateway init makes it[/]")
    for name, text in (
        ("config/", "gateway.toml, one file a partner, one a municipality: yours to read"),
        ("keys/", "host key, root key, keyring, audit key; a key a day, until that day"),
        ("data/vault/", "sealed files: only what lies in a box"),
        ("data/gateway.db", "ids, codes, dates and tombstones; names only ever sealed"),
        ("data/reference.db", "which municipality an address lies in"),
        ("log/", "the audit log as tiles, and its newest signed checkpoint"),
    ):
        home.add(f"{name:<18}[dim]{text}[/]")
    partners = tree.add("partners/ [dim]the computers of the others: not the gateway's[/]")
    partners.add(f"{'<id>/sent/':<18}[dim]what it uploaded[/]")
    partners.add(f"{'<id>/received/':<18}[dim]what it collected[/]")
    partners.add(f"{'<id>/id_ed25519':<18}[dim]its key[/]")
    tree.add(f"{'gateway.log':<22}[dim]what the daemon logged[/]")
    console.print(tree)


def _head(console: Console, title: str, text: str = "") -> None:
    console.print(f"\n[bold]{title}[/]")
    if text:
        console.print(f"[dim]{escape(text)}[/]", soft_wrap=False)
    console.print()


def _table(*columns: str) -> Table:
    """An empty table; a column whose title begins with `>` stands to the right."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False, padding=0)
    for column in columns:
        made.add_column(
            column.removeprefix(">"), no_wrap=True, justify="right" if column[:1] == ">" else "left"
        )
    return made


def _number(count: int) -> str:
    return f"{count:,}" if count else "[dim]·[/]"
