"""Spec 3, and what spec 2 says of rows, statuses and feedback, written down as plainly as can be.

It is read from the specification, not from the product, and shares no code with it. Everything is a dict in a list.
Nothing is carried over from one call to the next: `replay` starts from the facts (files received, publications made,
mornings) and works out all of it again, each melding by looking at every signal. It is slow and easy to check.

Places and persons come with what they are known by (`A1`, `A2`, the plain surname): what an address or a name is
normalised to has its own tests. Where the specification is silent, docs/adr/0004 decides here too. Nothing is ever
overdue: the machine ends before the first term does.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Fact = dict[str, Any]
Signal = dict[str, Any]
Policy = dict[str, Any]
#: Municipality, month, and what the signals have in common.
Key = tuple[Any, ...]

SERVED = ("GM0303", "GM1731")
HOLIDAYS = (date(2026, 12, 25), date(2026, 12, 26), date(2027, 1, 1), date(2027, 3, 28), date(2027, 3, 29))

#: Spec 2, terugkoppeling: what each answer is to its creditor. `HELP` depends on the policy, `GEEN_HULP` and
#: `NIET_BEREIKT` must be listed in `tell`.
ANSWERS = {
    "Nog niet opgepakt": None,
    "Opgepakt": ("OPGEPAKT", "opgepakt"),
    "Hulp geaccepteerd": "HELP",
    "(Budget)advies en/of quick fix": "HELP",
    "Vervolghulp en/of verwijzing financieel": "HELP",
    "Inwoner regelt het zelf/hoeft geen hulp vanuit vroegsignalering": "GEEN_HULP",
    "Geen reactie na eerder contact": "NIET_BEREIKT",
    "Inwoner al bekend bij schuldhulpverlening": ("AFGEROND", "afgehandeld, uitkomst wordt niet gedeeld"),
    "Niet opgepakt: andere reden": ("NIET_OPGEPAKT", "niet opgepakt: andere reden"),
    "Niet opgepakt: herhaalde melding": ("NIET_OPGEPAKT", "niet opgepakt: herhaalde melding"),
    "Inwoner is overleden": ("NIET_OPGEPAKT", "inwoner is overleden"),
}
TEXTS = {
    "GEEN_HULP": "inwoner regelt het zelf of hoeft geen hulp",
    "NIET_BEREIKT": "inwoner niet bereikt",
}


def day(at: datetime) -> date:
    """The day in the Netherlands."""
    return at.astimezone(ZoneInfo("Europe/Amsterdam")).date()


def month_before(month: str, count: int) -> str:
    """The calendar month `count` months before."""
    number = int(month[:4]) * 12 + int(month[5:]) - 1 - count
    return f"{number // 12:04}-{number % 12 + 1:02}"


def cents(text: str) -> int:
    """An amount as the pool of amounts writes it: always with two decimals."""
    return int(text.replace(",", ""))


def replay(facts: list[Fact], policy: Policy, ids: dict[Key, str]) -> dict[str, Any]:
    """All that must be true after these facts.

    `ids` are the melding_ids that the municipality has read: where nothing else decides, they do.
    """
    world: dict[str, Any] = {
        "policy": policy,
        "ids": ids,
        "signals": [],
        "meldingen": {},
        "answers": [],
        "exclusions": [],
        "silence": None,
        # what partners read: receipts by delivery; the others in the order in which they came
        "receipts": {},
        "statuses": [],
        "files": [],
        "feedback": [],
    }
    seen: list[Fact] = []
    for fact in facts:
        if fact["kind"] == "signals":
            receive(world, fact, seen)
            publish_crises(world, fact)
        elif fact["kind"] == "publish":
            publish(world, fact["municipality"], fact["at"], only_crisis=False)
        elif fact["kind"] == "feedback":
            take_feedback(world, fact)
        elif fact["kind"] == "exclusions":
            take_exclusions(world, fact)
            publish_crises(world, fact)
        elif fact["kind"] == "night":
            forget_excluded(world, fact)
        elif fact["kind"] == "morning":
            tell_silence(world, fact)
        seen.append(fact)
    return world


# -- a file of a creditor --------------------------------------------------------------------------


def receive(world: dict[str, Any], fact: Fact, before: list[Fact]) -> None:
    """The rows of one file, in line order."""
    counts = dict.fromkeys(("new", "changed", "withdrawn", "accepted"), 0)
    receipt: dict[str, Any] = {"refused": "", "rejected": [], "duplicates": [], **counts}
    world["receipts"][fact["id"]] = receipt
    if came_before(world, fact, before):
        receipt["refused"] = "F08"
        return
    already_new: set[str] = set()
    for line, row in enumerate(fact["rows"], start=2):
        take_row(world, fact, line, row, already_new, receipt)


def came_before(world: dict[str, Any], fact: Fact, before: list[Fact]) -> bool:
    """F08: the same bytes, processed with an accepted row; across months only when every row bears its own date."""
    for earlier in before:
        if (
            earlier["kind"] == "signals"
            and earlier["creditor"] == fact["creditor"]
            and earlier["bytes"] == fact["bytes"]
            and world["receipts"][earlier["id"]]["accepted"] > 0
        ):
            same_month = f"{day(earlier['received_at']):%Y-%m}" == f"{day(fact['received_at']):%Y-%m}"
            if same_month or all(row.get("signaaldatum") for row in fact["rows"]):
                return True
    return False


def find(world: dict[str, Any], creditor: str, signal_id: str) -> Signal | None:
    """What is known of a signaal_id."""
    for signal in world["signals"]:
        if signal["creditor"] == creditor and signal["signaal_id"] == signal_id:
            found: Signal = signal
            return found
    return None


def take_row(
    world: dict[str, Any], fact: Fact, line: int, row: dict[str, str], already_new: set[str], receipt: Any
) -> None:
    """What one row does to its signaal_id."""
    creditor, signal_id = fact["creditor"], row["signaal_id"]
    mutation = row.get("mutatie") or "N"
    known = find(world, creditor, signal_id)
    in_force = known is not None and known["state"] == "in force"

    def reject(code: str) -> None:
        receipt["rejected"].append((line, code))

    def tell(code: str, signal: Signal) -> None:
        world["statuses"].append(
            (creditor, signal["signaal_id"], code, signal["municipality"], day(fact["at"]))
        )

    if mutation == "I":
        if known is None or not in_force:
            reject("V14")
            return
        known["state"] = "withdrawn"
        receipt["withdrawn"] += 1
        receipt["accepted"] += 1
        tell("D52", known)
        return

    faults = faults_of(row, day(fact["received_at"]))
    if faults:
        for code in faults:
            reject(code)
        return

    content = {name: text for name, text in row.items() if text and name != "mutatie"}
    if mutation == "W":
        if not in_force:
            reject("V14")
            return
    else:
        if signal_id in already_new:
            reject("V13")
            return
        if known is not None and (not in_force or known["content"] != content):
            reject("V09")
            return
        already_new.add(signal_id)
        if known is not None and known["code"] not in ("D40", "D41"):
            receipt["duplicates"].append(line)
            tell("D50", known)
            return

    # from here on: accepted, as new or as a change
    version = read(row, content, fact, line, known)
    if not version["code"] and is_excluded(world, version, day(fact["at"])):
        version["code"] = "D30"
    if known is None:
        receipt["new"] += 1
        for other in world["signals"]:
            if (
                other["state"] == "in force"
                # of D40 and D41 nothing is kept that others could be compared with
                and other["code"] in ("", "D30")
                and version["code"] in ("", "D30")
                and other["creditor"] == creditor
                and all(other[name] == version[name] for name in ("klantnummer", "sector", "product"))
                and other["signaaltype"] == version["signaaltype"]
                and other["A2"] == version["A2"]
                and other["month"] == version["month"]
            ):
                other["state"] = "superseded"
                if not other["forgotten"]:
                    tell("D51", other)
        world["signals"].append(version)
    else:
        receipt["changed"] += 1
        same = ("code", "municipality", "month")
        stays = all(known[name] == version[name] for name in same)
        stays = stays and group_key(known, world["policy"]) == group_key(version, world["policy"])
        version["passed_on"] = known["passed_on"] if stays else None
        known.clear()
        known.update(version)
        version = known
    if version["code"]:
        tell(version["code"], version)
    else:
        receipt["accepted"] += 1


def faults_of(row: dict[str, str], received_on: date) -> list[str]:
    """What the rows of this test can have wrong with them."""
    faults = []
    if row["bedrag"] == "0,00":
        faults.append("V04")
    if row.get("signaaldatum"):
        stated = date.fromisoformat(row["signaaldatum"])
        if stated > received_on or stated < received_on - timedelta(days=62):
            faults.append("V11")
    return faults


def read(row: dict[str, str], content: Any, fact: Fact, line: int, replaced: Signal | None) -> Signal:
    """The version that an accepted row brings into force."""
    if row.get("signaaldatum"):
        signalled_on = date.fromisoformat(row["signaaldatum"])
    elif replaced:
        signalled_on = replaced["signaaldatum"]
    else:
        signalled_on = day(fact["received_at"])
    place = fact["places"][row["postcode"], row["huisnummer"], row.get("huisletter", "")]
    person = fact["persons"][row["achternaam"], row.get("geboortedatum", "")]
    municipalities = place["municipalities"]
    if len(municipalities) == 1:
        municipality = municipalities[0]
    else:
        municipality = row.get("gemeentecode") if row.get("gemeentecode") in municipalities else ""
    code = "D40" if not municipality else "" if municipality in SERVED else "D41"
    ends_supply = row.get("signaaltype") == "EINDELEVERING"
    if row.get("ontstaansdatum"):
        since = date.fromisoformat(row["ontstaansdatum"])
    else:
        since = signalled_on - timedelta(days=int(row["dagen_achterstand"]))
    return {
        "creditor": fact["creditor"],
        "signaal_id": row["signaal_id"],
        "state": "in force",
        "code": code,
        "municipality": municipality,
        "content": content,
        "version": (fact["id"], line),
        "received_on": day(fact["received_at"]),
        # D30: the day after which its contents are gone; whether they are
        "contents_until": max(day(fact["received_at"]) + timedelta(days=1), day(fact["at"])),
        "forgotten": False,
        "first_received_at": replaced["first_received_at"] if replaced else fact["received_at"],
        "passed_on": None,
        "signaaldatum": signalled_on,
        "month": f"{signalled_on:%Y-%m}",
        "A1": place["A1"],
        "A2": place["A2"],
        "name": person["name"],
        "born_on": row.get("geboortedatum", ""),
        "P1": (person["name"], row["geboortedatum"]) if person["name"] and row.get("geboortedatum") else None,
        "AS": (place["A2"], person["name"]) if person["name"] else None,
        "klantnummer": row["klantnummer"],
        "sector": row["sector"],
        "product": row.get("product", ""),
        "signaaltype": row.get("signaaltype") or "VROEGSIGNAAL",
        "cents": cents(row["bedrag"]),
        "crisis": ends_supply or row.get("crisissignaal") == "J",
        "warm": row.get("warme_overdracht") == "J",
        "since": since,
        "supply_ends": date.fromisoformat(row["datum_einde_levering"])
        if row.get("datum_einde_levering")
        else None,
    }


# -- exclusions ------------------------------------------------------------------------------------


def take_exclusions(world: dict[str, Any], fact: Fact) -> None:
    """Whom a municipality wants no signals about, from now on; also for signals that were not published yet."""
    rejected: list[tuple[int, str]] = []
    world["receipts"][fact["id"]] = {"rejected": rejected}
    fresh = []
    for line, row in enumerate(fact["rows"], start=2):
        who = {name: row[name] for name in ("municipality", "A2", "name", "born_on")}
        same = [each for each in world["exclusions"] if all(each[name] == who[name] for name in who)]
        same = [each for each in same if day(fact["at"]) <= each["until"] + timedelta(days=62)]
        if row["mutatie"] == "I":
            if not same:
                rejected.append((line, "V16"))
        elif row["until"] > months_after(day(fact["received_at"]), 12 if row["name"] else 6):
            rejected.append((line, "V17"))
            continue
        for each in same:
            world["exclusions"].remove(each)
            fresh = [other for other in fresh if other is not each]
        if row["mutatie"] != "I":
            world["exclusions"].append({**who, "until": row["until"]})
            fresh.append(world["exclusions"][-1])
    for signal in active(world):
        if signal["passed_on"] is None and any(means(each, signal) for each in fresh):
            signal["code"] = "D30"
            signal["contents_until"] = day(fact["at"]) + timedelta(days=1)
            world["statuses"].append(
                (signal["creditor"], signal["signaal_id"], "D30", signal["municipality"], day(fact["at"]))
            )


def months_after(start: date, count: int) -> date:
    """So many calendar months later, or the last day of that month."""
    number = start.year * 12 + start.month - 1 + count
    for last in (start.day, 30, 29, 28):
        try:
            return date(number // 12, number % 12 + 1, last)
        except ValueError:
            continue
    raise AssertionError


def is_excluded(world: dict[str, Any], signal: Signal, today: date) -> bool:
    """Whether an exclusion means a signal; they are held for 62 days after they end."""
    return any(
        today <= each["until"] + timedelta(days=62) and means(each, signal) for each in world["exclusions"]
    )


def means(exclusion: dict[str, Any], signal: Signal) -> bool:
    """Spec 3, Exclusions."""
    if signal["crisis"] or signal["signaaldatum"] > exclusion["until"]:
        return False
    if exclusion["municipality"] != signal["municipality"]:
        return False
    same_address = bool(exclusion["A2"] == signal["A2"])
    same_name = bool(exclusion["name"] == signal["name"])
    if exclusion["name"] and exclusion["born_on"]:
        same_person = signal["P1"] == (exclusion["name"], exclusion["born_on"])
        return same_person or (not signal["born_on"] and same_address and same_name)
    if exclusion["name"]:
        return same_address and same_name
    return same_address


def forget_excluded(world: dict[str, Any], fact: Fact) -> None:
    """The contents of a D30 signal go the next day: then nothing says any more which it was."""
    for signal in world["signals"]:
        if signal["code"] == "D30" and signal["contents_until"] < day(fact["at"]):
            signal["forgotten"] = True


# -- meldingen -------------------------------------------------------------------------------------


def group_key(signal: Signal, policy: Policy) -> Any:
    """What a signal is grouped by: spec 3, Keys."""
    if policy["key"] == "address":
        return ("A1", signal["A1"])
    if policy["key"] == "address_exact":
        return ("A2", signal["A2"])
    if signal["P1"]:
        return ("P1", signal["P1"])
    if signal["AS"]:
        return ("AS", signal["AS"])
    return ("A2", signal["A2"])


def key_of(signal: Signal, policy: Policy) -> Key:
    """The melding that a signal is in."""
    return (signal["municipality"], signal["month"], group_key(signal, policy))


def active(world: dict[str, Any]) -> list[Signal]:
    """In force, not withdrawn, not superseded, not excluded, routed."""
    return [each for each in world["signals"] if each["state"] == "in force" and not each["code"]]


def group(world: dict[str, Any], key: Key) -> list[Signal]:
    """All active signals of one municipality, month and key."""
    return [each for each in active(world) if key_of(each, world["policy"]) == key]


def counting(world: dict[str, Any], key: Key) -> list[Signal]:
    """G: those that reach the minimum amount of their sector."""
    least = world["policy"]["min_amount"]
    return [each for each in group(world, key) if each["cents"] >= least.get(each["sector"], 0)]


def earlier(key: Key, count: int) -> Key:
    """The same key, so many months before."""
    return (key[0], month_before(key[1], count), key[2])


def same_contract_before(world: dict[str, Any], signal: Signal) -> list[Signal]:
    """Active signals of the same creditor, municipality, klantnummer, sector and product in the look-back months."""
    months = [month_before(signal["month"], n) for n in range(1, world["policy"]["lookback_months"] + 1)]
    same = ("creditor", "municipality", "klantnummer", "sector", "product")
    return [
        each
        for each in active(world)
        if each["month"] in months and all(each[name] == signal[name] for name in same)
    ]


def bridges(world: dict[str, Any], key: Key) -> bool:
    """The condition of GATEN_DICHTEN, on G, whatever `bridging` says."""
    now = {each["creditor"] for each in counting(world, key)}
    then = {each["creditor"] for each in counting(world, earlier(key, 1))}
    return any(each not in now for each in then) and any(each not in then for each in now)


def rules(world: dict[str, Any], key: Key) -> list[str]:
    """The codes that hold, in their order."""
    policy, found = world["policy"], []
    here = counting(world, key)
    kinds = {each["sector" if policy["distinct_by"] == "sector" else "creditor"] for each in here}
    if len(kinds) >= policy["min_distinct"]:
        found.append("MEERVOUDIG")
    n = policy["consecutive_months"]
    if n >= 2:
        months = [counting(world, earlier(key, back)) for back in range(n)]
        together = [each for month in months for each in month]
        if policy["consecutive_by"] == "same_creditor":
            holds = any(
                all(any(each["creditor"] == creditor for each in month) for month in months)
                for creditor in {each["creditor"] for each in together}
            )
        elif policy["consecutive_by"] == "different_sector":
            holds = all(months) and len({each["sector"] for each in together}) >= 2
        else:
            holds = all(months)
        if holds:
            found.append("OPEENVOLGENDE_MAANDEN")
    if policy["bridging"] and bridges(world, key):
        found.append("GATEN_DICHTEN")
    if any(each["sector"] in policy["always_sectors"] for each in here):
        found.append("ALTIJD_MATCH")
    if policy["always_crisis"] and any(each["crisis"] for each in group(world, key)):
        found.append("CRISIS")
    return found


def content(world: dict[str, Any], key: Key) -> dict[str, Any] | None:
    """What a melding says of itself; None when no signal is left in it."""
    policy, signals = world["policy"], group(world, key)
    if not signals:
        return None
    hold = rules(world, key)
    back = range(1, policy["lookback_months"] + 1)
    return {
        "klasse": "MATCH" if hold else "ENKELVOUDIG",
        "matchregels": "+".join(hold),
        "aantal_signalen": len(signals),
        "aantal_partners": len({each["creditor"] for each in signals}),
        "aantal_sectoren": len({each["sector"] for each in signals}),
        "totaalbedrag": sum(each["cents"] for each in signals),
        "opeenvolgend": any(group(world, earlier(key, n)) for n in back),
        "gaten_dichten": bridges(world, key),
        "meerdere_adressen": key[2][0] == "A1" and len({each["A2"] for each in signals}) > 1,
        "signals": {
            (each["creditor"], each["signaal_id"]): {
                "version": each["version"],
                "herhaald": any(
                    other["cents"] >= each["cents"] for other in same_contract_before(world, each)
                ),
            }
            for each in signals
        },
        # what it is ranked and dated by; follows from its signals
        "sectors": {each["sector"] for each in signals},
        "first_signalled": min(each["signaaldatum"] for each in signals),
        "first_received": min(each["first_received_at"] for each in signals),
        "since": min(each["since"] for each in signals),
        "warm": any(each["warm"] for each in signals),
        "supply_ends": min((each["supply_ends"] for each in signals if each["supply_ends"]), default=None),
    }


# -- rank ------------------------------------------------------------------------------------------


def value(said: dict[str, Any], name: str) -> float:
    """What a name of `order` compares; greater first."""
    word, _, argument = name.partition(":")
    hold = said["matchregels"].split("+")
    if word == "sector":
        names = argument.split(",")
        return -min(names.index(each) if each in names else len(names) for each in said["sectors"])
    if word == "total_if_many_creditors":
        return said["totaalbedrag"] if said["aantal_partners"] > int(argument) else 0
    return {
        "crisis": lambda: "CRISIS" in hold,
        "total_over": lambda: said["totaalbedrag"] > int(argument) * 100,
        "many_creditors": lambda: said["aantal_partners"] > int(argument),
        "creditors": lambda: said["aantal_partners"],
        "sectors": lambda: said["aantal_sectoren"],
        "total": lambda: said["totaalbedrag"],
        "multiple": lambda: "MEERVOUDIG" in hold,
        "consecutive": lambda: said["opeenvolgend"],
        "bridging": lambda: said["gaten_dichten"],
        "oldest": lambda: -said["since"].toordinal(),
        "warm_handover": lambda: said["warm"],
    }[word]()


def goes_before(world: dict[str, Any], one: Key, other: Key) -> bool:
    """Whether one published match ranks before another."""
    first, second = world["meldingen"][one]["content"], world["meldingen"][other]["content"]
    for name in world["policy"]["order"]:
        if value(first, name) != value(second, name):
            return value(first, name) > value(second, name)
    for name in ("first_signalled", "first_received"):
        if first[name] != second[name]:
            return bool(first[name] < second[name])
    return world["ids"].get(one, "") < world["ids"].get(other, "")


def rank(world: dict[str, Any], key: Key) -> tuple[int | None, str]:
    """Rank and action among what is published of that municipality and month."""
    policy = world["policy"]

    def matches() -> list[Key]:
        return [
            each
            for each, melding in world["meldingen"].items()
            if each[:2] == key[:2] and melding["content"] and melding["content"]["klasse"] == "MATCH"
        ]

    def place(of: Key) -> int:
        return 1 + sum(goes_before(world, each, of) for each in matches() if each != of)

    if key not in matches():
        return None, "Brief S"
    ordered = sorted(matches(), key=place)
    over = policy["visit_over"] * 100
    visited = [each for each in ordered if world["meldingen"][each]["content"]["totaalbedrag"] > over]
    visited = visited[: policy["visit_capacity"]]
    if policy["visit_fill"]:
        for each in ordered:
            if each not in visited and len(visited) < policy["visit_capacity"]:
                visited.append(each)
    return place(key), "Huisbezoek" if key in visited else "Brief M"


# -- publication -----------------------------------------------------------------------------------


def publish(world: dict[str, Any], municipality: str, at: datetime, *, only_crisis: bool) -> None:
    """What is new or changed goes out, one file a month; a CRISIS melding alone."""
    keys = {key_of(each, world["policy"]) for each in active(world)} | set(world["meldingen"])
    due = []
    for key in keys:
        if key[0] != municipality:
            continue
        said = content(world, key)
        last = world["meldingen"][key]["content"] if key in world["meldingen"] else None
        is_crisis = said is not None and "CRISIS" in said["matchregels"].split("+")
        if said != last and (is_crisis or not only_crisis):
            due.append((key, said))
    for key, said in due:
        melding = world["meldingen"].setdefault(key, {"version": 0, "first": day(at), "crisis": None})
        melding["version"] += 1
        melding["content"] = said
        if said is None or "CRISIS" not in said["matchregels"].split("+"):
            melding["crisis"] = None
        elif melding["crisis"] is None:
            melding["crisis"] = day(at)
    for month in sorted({key[1] for key, _ in due}):
        found = {key: in_file(world, key) for key, _ in due if key[1] == month}
        world["files"].append({"municipality": municipality, "month": month, "meldingen": found})
    for key, _ in due:
        for signal in group(world, key):
            if signal["passed_on"] is None:
                signal["passed_on"] = day(at)
                code = "D11" if same_contract_before(world, signal) else "D10"
                world["statuses"].append(
                    (signal["creditor"], signal["signaal_id"], code, municipality, day(at))
                )


def publish_crises(world: dict[str, Any], fact: Fact) -> None:
    """A melding with rule CRISIS goes out at once."""
    if world["policy"]["always_crisis"]:
        for municipality in SERVED:
            publish(world, municipality, fact["at"], only_crisis=True)


def in_file(world: dict[str, Any], key: Key) -> dict[str, Any]:
    """A melding as the municipality reads it."""
    melding = world["meldingen"][key]
    said = melding["content"]
    if said is None:
        return {"versie": melding["version"], "klasse": "VERVALLEN"}
    place, action = rank(world, key)
    names = ("klasse", "matchregels", "aantal_signalen", "aantal_partners", "aantal_sectoren")
    names += ("totaalbedrag", "opeenvolgend", "gaten_dichten", "meerdere_adressen")
    return {
        **{name: said[name] for name in names},
        "versie": melding["version"],
        "rang": place,
        "voorstel_actie": action,
        "uiterlijk_aanbod": offer_by(world, melding),
        "terugkoppelen_voor": day(said["first_received"]) + timedelta(days=14),
        "afronden_voor": day(said["first_received"]) + timedelta(days=28),
        "signalen": {
            (signal["creditor"], signal["signaal_id"]): line_of(
                signal, said["signals"][signal["creditor"], signal["signaal_id"]]["herhaald"]
            )
            for signal in group(world, key)
        },
    }


def line_of(signal: Signal, repeated: bool) -> dict[str, Any]:
    """What a line says of a signal."""
    return {
        "herhaald": repeated,
        "bedrag": signal["cents"],
        "sector": signal["sector"],
        "product": signal["product"],
        "klantnummer": signal["klantnummer"],
        "signaaltype": signal["signaaltype"],
        "crisissignaal": signal["crisis"],
        "signaaldatum": signal["signaaldatum"],
        "ontvangen_op": signal["received_on"],
        "warme_overdracht": signal["warm"],
    }


def offer_by(world: dict[str, Any], melding: dict[str, Any]) -> date:
    """`uiterlijk_aanbod`."""
    said = melding["content"]
    if "CRISIS" in said["matchregels"].split("+"):
        by, left = melding["crisis"], 3
        while left:
            by += timedelta(days=1)
            if by.weekday() < 5 and by not in HOLIDAYS:
                left -= 1
        return min(by, said["supply_ends"]) if said["supply_ends"] else by
    if world["policy"]["deadline_from"] == "publication":
        return melding["first"] + timedelta(days=28)
    return day(said["first_received"]) + timedelta(days=28)


# -- feedback --------------------------------------------------------------------------------------


def take_feedback(world: dict[str, Any], fact: Fact) -> None:
    """A feedback file: what is rejected, and what creditors are told because of it."""
    rejected: list[tuple[int, str]] = []
    world["receipts"][fact["id"]] = {"rejected": rejected}
    before = list(world["answers"])
    answered: list[Signal] = []
    for line, row in enumerate(fact["rows"], start=2):
        if row["signal"] is None and row["outcome"] == "Inwoner is overleden":
            rejected.append((line, "V18"))
            continue
        subjects = [
            each
            for each in active(world)
            if each["passed_on"]
            and (
                (each["creditor"], each["signaal_id"]) == row["signal"]
                if row["signal"]
                else key_of(each, world["policy"]) == row["melding"]
            )
        ]
        if not subjects:
            rejected.append((line, "V16"))
            continue
        if row["signal"] is None and not one_person(subjects):
            rejected.append((line, "V18"))
            continue
        for each in subjects:
            answered.append(each)
            world["answers"].append({**row, "signal": (each["creditor"], each["signaal_id"])})
    done = []
    for signal in answered:
        name = (signal["creditor"], signal["signaal_id"])
        if name in done:
            continue
        done.append(name)
        was, now = latest(before, name), latest(world["answers"], name)
        told = may_know(now, world["policy"])
        if now and told and told != may_know(was, world["policy"]):
            world["feedback"].append((*name, *told, signal["municipality"], now["datum"]))


def one_person(signals: list[Signal]) -> bool:
    """P1, or AS where a date of birth is missing."""
    if len(signals) == 1:
        return True
    persons = {each["P1"] for each in signals}
    if None not in persons:
        return len(persons) == 1
    at_home = {each["AS"] for each in signals}
    return len(persons - {None}) <= 1 and None not in at_home and len(at_home) == 1


def latest(answers: list[dict[str, Any]], name: tuple[str, str]) -> dict[str, Any] | None:
    """The latest `datum` wins, on a tie the last received."""
    best = None
    for answer in answers:
        if answer["signal"] == name and (best is None or answer["datum"] >= best["datum"]):
            best = answer
    return best


def may_know(answer: dict[str, Any] | None, policy: Policy) -> tuple[str, str, date | None] | None:
    """Code, sentence and suspension that a creditor is told; None for nothing."""
    if answer is None:
        return None
    said = ANSWERS[answer["outcome"]]
    if said is None:
        return None
    if said == "HELP":
        allowed = policy["help_accepted"]
        if allowed == "agreement" or (allowed == "consent" and answer["consents"]):
            until = answer["until"] or answer["datum"] + timedelta(days=28)
            return ("HULP_GEACCEPTEERD", "hulp geaccepteerd", until)
        return ("OPGEPAKT", "opgepakt", None)
    if isinstance(said, str):
        if said in policy["tell"]:
            return (said, TEXTS[said], None)
        return ("AFGEROND", "afgehandeld, uitkomst wordt niet gedeeld", None)
    return (*said, None)


def tell_silence(world: dict[str, Any], fact: Fact) -> None:
    """NOG_GEEN_TERUGKOPPELING on day 14 and day 28 after D10 or D11; a morning that was missed is made up for."""
    today, last = day(fact["at"]), world["silence"]
    for signal in active(world):
        name = (signal["creditor"], signal["signaal_id"])
        said = any(
            each["signal"] == name and each["outcome"] != "Nog niet opgepakt" for each in world["answers"]
        )
        days = [signal["passed_on"] + timedelta(days=n) for n in (14, 28)] if signal["passed_on"] else []
        if not said and any(each <= today and (last is None or each > last) for each in days):
            text = "nog geen terugkoppeling van de gemeente"
            world["feedback"].append(
                (*name, "NOG_GEEN_TERUGKOPPELING", text, None, signal["municipality"], today)
            )
    world["silence"] = today
