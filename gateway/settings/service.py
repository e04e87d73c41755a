"""Who serves which municipality: what partners and policies say of it together (spec 1, Partners; spec 3, Policy)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from gateway.domain.partner import Mode, Partner, Role
from gateway.errors import ConfigError
from gateway.matching.municipality import Successor
from gateway.settings.municipality_file import MunicipalityFile
from gateway.settings.partner_file import PartnerFile

PARTNERS = "config/partners"
MUNICIPALITIES = "config/municipalities"


def servers(partners: Iterable[Partner], files: Mapping[str, MunicipalityFile]) -> dict[str, str]:
    """Municipality code -> the partner that serves it; of several, the one of the route that takes all.

    Nothing is passed on to a partner on trial: what only such a partner serves is not connected.
    """
    found: dict[str, str] = {}
    for partner in partners:
        if partner.mode is Mode.LIVE:
            for code in partner.serves:
                last = _catch_all(files.get(code))
                found[code] = last if code in found and last else partner.id
    return found


def successors(files: Mapping[str, MunicipalityFile]) -> dict[str, Successor]:
    """Code of a municipality that merged -> the one that took over."""
    return {code: after for code, file in files.items() if (after := file.merger()) is not None}


def problems(
    partners: Mapping[str, PartnerFile], files: Mapping[str, MunicipalityFile]
) -> Iterator[ConfigError]:
    """What can't be used although every file can."""
    yield from _served_twice(partners, files)
    for code, file in files.items():
        yield from _route_problems(code, file, partners)
        yield from _merger_problems(code, file, successors(files))


def _served_twice(
    partners: Mapping[str, PartnerFile], files: Mapping[str, MunicipalityFile]
) -> Iterator[ConfigError]:
    by_code: dict[str, list[str]] = defaultdict(list)
    for partner_id, partner in partners.items():
        for code in dict.fromkeys(partner.serves):
            if partner.mode is Mode.LIVE:
                by_code[code].append(partner_id)
    for code, (first, *others) in by_code.items():
        if _catch_all(files.get(code)) is None:
            for other in others:
                reason = (
                    f"{code} is served by the partner {first} already: of several partners one must take what no route "
                    f'takes; end {MUNICIPALITIES}/{code}.toml with a [[route]] of only `to = "{first}"`'
                )
                yield ConfigError(reason, file=f"{PARTNERS}/{other}.toml", key="serves")


def _route_problems(
    code: str, file: MunicipalityFile, partners: Mapping[str, PartnerFile]
) -> Iterator[ConfigError]:
    for place, route in enumerate(file.route):
        partner = partners.get(route.to)
        if partner is None:
            reason = (
                f"there is no partner {route.to!r}: "
                f"gateway partner add ID --role municipality --serves {code} --key FILE.pub"
            )
        elif partner.role is not Role.MUNICIPALITY:
            reason = (
                f"{route.to} is a partner of the role {partner.role}: meldingen go to the role municipality"
            )
        elif partner.mode is not Mode.LIVE:
            reason = f"{route.to} has mode {partner.mode}: nothing is passed on to it"
        else:
            continue
        yield ConfigError(reason, file=f"{MUNICIPALITIES}/{code}.toml", key=f"route[{place}].to")


def _merger_problems(
    code: str, file: MunicipalityFile, after: Mapping[str, Successor]
) -> Iterator[ConfigError]:
    path = f"{MUNICIPALITIES}/{code}.toml"
    if file.successor is not None and file.starts_on is None:
        yield ConfigError(
            "is missing: the day from which the successor is the municipality", file=path, key="from"
        )
    if file.starts_on is not None and file.successor is None:
        yield ConfigError(
            "is missing: the code of the municipality that took over", file=path, key="successor"
        )
    at, seen = code, {code}
    while at in after:
        at = after[at].code
        if at == code:
            yield ConfigError("comes back to this municipality: take it out", file=path, key="successor")
        if at in seen:
            return
        seen.add(at)


def _catch_all(file: MunicipalityFile | None) -> str | None:
    """The partner of the first route that takes all."""
    routes = () if file is None else file.route
    return next((route.to for route in routes if route.value().takes_all), None)
