"""What the demo shows when it is over: tables of what partners collected, and of what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.tree import Tree

from gateway.demo import collected
from gateway.demo.cast import COLLECTORS, CREDITORS, MUNICIPALITIES
from gateway.demo.collected import Found, Returned
from gateway.demo.explanation import Explanation
from gateway.demo.proof import Claim, Destruction
from gateway.domain.codes import FILE_ERRORS, ROW_ERRORS, STATUS_TEXTS, WARNINGS, StatusCode
from gateway.domain.melding import Rule

#: The statuses that have a column of their own.
_STATUSES = (
    StatusCode.PASSED_ON,
    StatusCode.PASSED_ON_AGAIN,
    StatusCode.NOT_CONNECTED,
    StatusCode.UNCHANGED,
    StatusCode.SUPERSEDED,
    StatusCode.WITHDRAWN,
)
#: Part of an outbox file: so many meldingen.
_SHOWN_MELDINGEN = 5


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
    home = root / "home"
    steps = (
        (f"gateway --home {home} partner list", "who took part"),
        (f"gateway --home {home} retention log", "every purge, with its counts"),
        (f"gateway --home {home} audit verify", "the log again, from its entries up"),
        (f"less {root / 'gateway.log'}", "what the daemon logged: no name in it"),
        (f"rm -r {root}", "all of this demo"),
        ("gateway init ~/gateway", "a gateway of your own: README.md, five minutes"),
    )
    for command, why in steps:
        console.print(f"  [cyan]{escape(command)}[/]", soft_wrap=True, end="")
        console.print(f"  [dim]{why}[/]", soft_wrap=True)
    failed = [claim for claim in story.claims if not claim.holds]
    mark = "[bold green]✓[/]" if not failed else "[bold red]✗[/]"
    outcome = (
        "every claim holds" if not failed else f"{len(failed)} of {len(story.claims)} claims do not hold"
    )
    console.print(f"\n{mark} Nine months in {seconds:.0f} seconds; {outcome}.\n")


# -- tables ----------------------------------------------------------------------------------------


def _show_returned(console: Console, returned: Sequence[Returned]) -> None:
    _head(
        console,
        "1  What each creditor got back",
        "From the receipts (ontvangst) and statuses (signaalstatus) that they collected from /returns.",
    )
    shown = _table("creditor", "sector")
    for name in ("files", "rows", "N", "W", "I", "afge-\nkeurd", "dubbel"):
        shown.add_column(name, justify="right")
    for code in _STATUSES[:3] + _STATUSES[4:]:
        shown.add_column(code.value, justify="right", style="cyan")
    shown.add_column("refused")
    total: Counter[str] = Counter()
    for creditor, back in zip(CREDITORS, returned, strict=True):
        counts = {"files": back.files, **back.sums, **back.statuses}
        total.update(counts)
        refused = " ".join(f"[yellow]{code}[/]" for code in back.refused)
        shown.add_row(escape(creditor.name), creditor.sector, *_counts(counts), refused)
    shown.add_section()
    shown.add_row("[bold]all[/]", "", *_counts(total), "")
    console.print(shown)
    console.print(_codes(returned))


def _counts(counts: Mapping[str, int]) -> Iterable[str]:
    names = ("files", "regels", "signalen", "wijzigingen", "intrekkingen", "afgekeurd", "dubbel")
    codes = (code.value for code in _STATUSES if code is not StatusCode.UNCHANGED)
    return (_number(counts.get(name, 0)) for name in (*names, *codes))


def _codes(returned: Sequence[Returned]) -> Table:
    """What the codes mean, with how often each was given."""
    remarks: Counter[str] = Counter()
    for back in returned:
        remarks.update(back.remarks)
        remarks.update(back.refused)
        remarks.update({code.value: back.statuses.get(code.value, 0) for code in _STATUSES})
    texts = {
        **ROW_ERRORS,
        **WARNINGS,
        **FILE_ERRORS,
        **{code.value: text for code, text in STATUS_TEXTS.items()},
    }
    entries = [
        f"[cyan]{code}[/] {texts[code].split(';')[0]} [dim]{remarks[code]:,}[/]"
        for code in sorted(remarks, key=lambda code: ("DFVW".index(code[0]), code))
        if remarks[code]
    ]
    half = (len(entries) + 1) // 2
    shown = Table.grid(padding=(0, 4))
    for left, right in zip(entries[:half], [*entries[half:], ""], strict=False):
        shown.add_row(f"  {left}", right)
    return shown


def _show_found(console: Console, found: Mapping[str, Found]) -> None:
    _head(
        console,
        "2  What each municipality found",
        "From the files that its partner collected from /outbox: each melding in its last version.",
    )
    shown = _table("municipality", "collected by", "preset")
    for name in ("files", "signals", "meldingen"):
        shown.add_column(name, justify="right")
    shown.add_column("MATCH", justify="right", style="bold")
    rules = (Rule.MULTIPLE, Rule.CONSECUTIVE_MONTHS, Rule.BRIDGING, Rule.CRISIS)
    for title in ("MEER-\nVOUDIG", "OPEENV.\nMAANDEN", "GATEN\nDICHTEN", "CRISIS"):
        shown.add_column(title, justify="right", style="cyan")
    for title in ("ENKEL-\nVOUDIG", "VER-\nVALLEN"):
        shown.add_column(title, justify="right")
    partners = {code: collector.id for collector in COLLECTORS for code in collector.serves}
    for municipality in MUNICIPALITIES:
        each = found[municipality.code]
        shown.add_row(
            municipality.name,
            partners[municipality.code].removeprefix("gemeente-"),
            municipality.preset,
            *map(_number, (each.files, each.signals, each.meldingen, each.klassen["MATCH"])),
            *(_number(each.rules[rule.value]) for rule in rules),
            *(_number(each.klassen[klasse]) for klasse in ("ENKELVOUDIG", "VERVALLEN")),
        )
    console.print(shown)


def _show_explained(console: Console, explained: Explanation) -> None:
    melding, content = explained.melding, explained.content
    own = next(each for each in explained.neighbours if each.id == melding.id)
    _head(
        console,
        "3  One melding explained",
        f"{melding.id} of {explained.policy.name}, {melding.month}, versie {melding.version}: {content.klasse} "
        f"by {'+'.join(content.rules)}.\nThe administrator's view: no name and no address, those are sealed.",
    )
    shown = _table("signal of", "sector", "month", "signaaldatum")
    shown.add_column("bedrag", justify="right")
    for rule in explained.grounds:
        shown.add_column(rule.value, justify="center", style="green")
    for signal in explained.signals:
        held = ("✓" if signal.ref in refs else "" for refs in explained.grounds.values())
        cells = (
            signal.creditor,
            signal.sector,
            signal.month,
            str(signal.signalled_on),
            _euros(signal.amount_cents),
        )
        shown.add_row(*cells, *held, style="" if signal.month == melding.month else "dim")
    console.print(shown)
    console.print(
        f"  Its rank is [bold]{own.place}[/] of {explained.matches} matches, so: [bold]{own.action}[/].\n"
    )
    ranking = _table("the policy compares, in this order")
    for each in explained.neighbours:
        title = "this melding" if each is own else each.id
        ranking.add_column(
            f"rang {each.place}\n{title}", justify="right", style="bold" if each is own else ""
        )
    decided: set[str] = set()
    for name in own.values:
        cells = [_value(name, each.values[name]) for each in explained.neighbours]
        for at, each in enumerate(explained.neighbours):
            if each.id not in decided and each.values[name] != own.values[name]:
                decided.add(each.id)
                cells[at] = f"[yellow]{cells[at]} ←[/]"
        ranking.add_row(escape(name), *cells)
    console.print(ranking)
    console.print("  [yellow]←[/] [dim]the first value that differs decides[/]")


def _value(name: str, value: int) -> str:
    """A value of the ranking: euro where it is an amount, yes or no, or a number."""
    word = name.partition(":")[0]
    if word in ("total", "total_if_many_creditors"):
        return _euros(value)
    return str(value) if word in ("creditors", "sectors") else ("yes" if value else "no")


def _show_outbox(console: Console, paths: Sequence[Path]) -> None:
    path = max(paths, key=lambda each: (sum(1 for _ in collected.lines(each)), each.name))
    lines = collected.lines(path)
    _head(
        console,
        "4  Part of an outbox file",
        f"{path.name}: {len(lines)} lines of {len(lines[0])} columns, on the municipality's own computer.\n"
        "Nobody in it exists.",
    )
    shown = _table()
    columns = {
        "rang": "rang",
        "matchregels": "matchregels",
        "voorstel_actie": "voorstel_\nactie",
        "partner": "partner",
        "bedrag": "bedrag",
        "voorvoegsel": "voor-\nvoegsel",
        "achternaam": "achternaam",
        "postcode": "postcode",
        "huisnummer": "huis-\nnummer",
        "uiterlijk_aanbod": "uiterlijk_\naanbod",
    }
    for name, title in columns.items():
        shown.add_column(title, justify="right" if name in ("rang", "bedrag", "huisnummer") else "left")
    chosen = list(dict.fromkeys(line["melding_id"] for line in lines))[:_SHOWN_MELDINGEN]
    for melding_id in chosen:
        group = [line for line in lines if line["melding_id"] == melding_id]
        for first, line in zip((True, *[False] * len(group)), group, strict=False):
            cells = [line[name] for name in columns]
            shown.add_row(*(map(escape, cells) if first else ("", "", "", *map(escape, cells[3:]))))
    console.print(shown)


def _show_destruction(console: Console, destruction: Destruction) -> None:
    _head(
        console,
        "5  Six months later",
        "What the nightly purge let go, and what is left. A received file is kept 14 days, a signal six months;\n"
        "with the key of its day, what was sealed under it can't be opened anywhere any more.",
    )
    by_month = destruction.by_month
    early = {month: counts for month, counts in by_month.items() if counts["keys"] or counts["raws"]}
    shown = _table("")
    titles = _spans(list(early))
    for title in titles:
        shown.add_column(title, justify="right")
    shown.add_column("left", justify="right", style="bold green")
    for kind, text in _KINDS.items():
        counts = [sum(early[month][kind] for month in months) for months in titles.values()]
        shown.add_row(text, *map(_number, counts), f"{destruction.left[kind]:,}")
    console.print(shown)


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
    first = {f"{months[0]} … {months[-5]}": months[:-4]}
    return first | {month: [month] for month in months[-4:]}


def _show_claims(console: Console, claims: Sequence[Claim]) -> None:
    _head(console, "6  What that proves")
    shown = _table("", "", "")
    shown.show_header = False
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
        ("data/vault/", "sealed files: empty again"),
        ("data/gateway.db", "ids, codes, dates and tombstones; names only ever sealed"),
        ("data/reference.db", "which municipality an address lies in"),
        ("log/", "the newest signed checkpoint of the audit log"),
    ):
        home.add(f"{name:<18}[dim]{text}[/]")
    partners = tree.add("partners/ [dim]the computers of the others: not the gateway's[/]")
    partners.add(f"{'<id>/sent/':<18}[dim]what it uploaded[/]")
    partners.add(f"{'<id>/received/':<18}[dim]what it collected[/]")
    partners.add(f"{'<id>/id_ed25519':<18}[dim]its key[/]")
    tree.add(f"{'gateway.log':<22}[dim]what the daemon logged[/]")
    console.print(Padding(tree, (0, 0, 0, 2)))


def _head(console: Console, title: str, text: str = "") -> None:
    console.print(f"\n[bold]{title}[/]")
    if text:
        console.print(f"[dim]{escape(text)}[/]", soft_wrap=False)
    console.print()


def _table(*columns: str) -> Table:
    made = Table(
        box=box.SIMPLE_HEAD, pad_edge=True, header_style="dim", show_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        made.add_column(column, no_wrap=True)
    return made


def _number(count: int) -> str:
    return f"{count:,}" if count else "[dim]·[/]"


def _euros(cents: int) -> str:
    return f"{cents / 100:,.2f}".translate(str.maketrans(",.", ".,"))
