"""From the files under `config/` to `Settings`: everything checked, all problems told together."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import ValidationError

from gateway.domain.approval import Approver
from gateway.domain.certificate import Mandate
from gateway.domain.guard import GuardTerms
from gateway.domain.partner import Partner
from gateway.domain.policy import Policy
from gateway.domain.retention import Terms
from gateway.errors import ConfigError, ConfigErrors
from gateway.files.table import Limits
from gateway.matching.municipality import Successor
from gateway.settings import service
from gateway.settings.approvers import APPROVERS_FILE, read_approvers
from gateway.settings.fields import Table
from gateway.settings.gateway_file import GatewayFile
from gateway.settings.gemeenten import gemeente_names
from gateway.settings.home import Home
from gateway.settings.municipality_file import MunicipalityFile
from gateway.settings.partner_file import PartnerFile
from gateway.settings.problems import sentences
from gateway.settings.service import MUNICIPALITIES, PARTNERS
from gateway.vault.pkcs11 import Token
from gateway.vault.root import Provider

GATEWAY_FILE = "config/gateway.toml"
#: Exchange processes where nobody says how many: one for each processor, as long as the others have one too.
_MOST_BY_ITSELF = 4

_File = TypeVar("_File", bound=Table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that was configured. `policies` holds every municipality that is served or has a file."""

    home: Home
    #: of the files it was made from
    digest: str
    host: str
    port: int
    #: how many processes partners connect to
    processes: int
    #: address and port of the listener for products of yesterday, where there is one
    legacy: tuple[str, int] | None
    limits: Limits
    #: socket of the virus scanner (clamd), where there is one
    scanner: Path | None
    listed_for: timedelta
    staged_for: timedelta
    guard: GuardTerms
    terms: Terms
    #: cron line, Europe/Amsterdam
    purge_schedule: str
    #: how many days ahead it is announced what will go
    notice_days: int
    #: where the root key of the keyring comes from
    root_provider: Provider
    #: what seals it, where that is a token
    root_token: Token | None
    #: municipality code -> who ordered destruction
    mandates: Mapping[str, Mandate]
    #: who may approve what takes two people
    approvers: tuple[Approver, ...]
    #: partner id -> partner
    partners: Mapping[str, Partner]
    #: municipality code -> policy
    policies: Mapping[str, Policy]
    #: municipality code -> id of the partner that serves it; of several, the one that takes what no other route takes
    served_by: Mapping[str, str]
    #: code of a municipality that merged -> the one that took over
    successors: Mapping[str, Successor]
    #: sector beyond those of the Wgs -> the municipalities that its legal basis names
    further_sectors: Mapping[str, frozenset[str]]


def load_settings(home: Path) -> Settings:
    """Read and check everything under `config/` of the home folder.

    Raises:
        ConfigErrors: something can't be used; it lists all that can't, with file, key and reason.
    """
    return build(Home(root=home), read_files(home))


def read_files(home: Path) -> dict[str, bytes]:
    """The files that make the configuration: path below the home, with `/` -> contents.

    Raises:
        ConfigErrors: a file can't be read.
    """
    files: dict[str, bytes] = {}
    problems: list[ConfigError] = []
    for name in _names(home):
        try:
            files[name] = (home / name).read_bytes()
        except OSError as exc:
            problems.append(ConfigError(f"can't be read: {exc.strerror}", file=name))
    _refuse(problems)
    return files


def other_policy(home: Path, code: str, path: Path) -> Policy:
    """The policy that the municipality `code` would have if `path` were its file.

    Raises:
        ConfigErrors: it could not be used; each problem names `path`.
    """
    name = f"{MUNICIPALITIES}/{code}.toml"
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ConfigErrors([ConfigError(f"can't be read: {exc.strerror}", file=str(path))]) from exc
    try:
        settings = build(Home(root=home), read_files(home) | {name: content})
    except ConfigErrors as exc:
        raise ConfigErrors(
            ConfigError(each.reason, file=str(path) if each.file == name else each.file, key=each.key)
            for each in exc.problems
        ) from None
    return settings.policies[code]


def digest_of(files: Mapping[str, bytes]) -> str:
    """SHA-256 over names and contents: the same files, the same configuration."""
    digest = sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _names(home: Path) -> Iterator[str]:
    for name in (GATEWAY_FILE, APPROVERS_FILE):
        if (home / name).exists():
            yield name
    for folder in (PARTNERS, MUNICIPALITIES):
        for path in sorted((home / folder).glob("*.toml")):
            if not path.name.startswith("."):
                yield f"{folder}/{path.name}"


def build(home: Home, files: Mapping[str, bytes]) -> Settings:
    """Settings from the contents of files, as `read_files` gives them.

    Raises:
        ConfigErrors: something can't be used; it lists all that can't, with file, key and reason.
    """
    problems: list[ConfigError] = []
    if GATEWAY_FILE not in files:
        problems.append(
            ConfigError(
                f"not found in {home.root.resolve()}: `gateway init DIR` makes a home; "
                "`--home DIR` or GATEWAY_HOME says which one is meant",
                file=GATEWAY_FILE,
            )
        )
        _refuse(problems)
    own = _parsed(GatewayFile, GATEWAY_FILE, files, problems) or GatewayFile()
    further = [each.name for each in own.sector]
    partner_files = _folder(PartnerFile, PARTNERS, files, problems, further)
    municipality_files = _folder(MunicipalityFile, MUNICIPALITIES, files, problems, further)
    for partner_id, partner_file in partner_files.items():
        problems += partner_file.problems(partner_id, file=f"{PARTNERS}/{partner_id}.toml")
    problems += own.problems(file=GATEWAY_FILE)
    approvers = read_approvers(files.get(APPROVERS_FILE, b""), problems)
    problems += _municipality_problems(municipality_files, own)
    problems += _shared_keys(partner_files)
    problems += service.problems(partner_files, municipality_files)
    _refuse(problems)

    partners = {name: file.partner(name) for name, file in partner_files.items()}
    served_by = service.servers(partners.values(), municipality_files)
    return Settings(
        home=home,
        digest=digest_of(files),
        host=own.listen.host,
        port=own.listen.port,
        processes=own.listen.processes or min(_MOST_BY_ITSELF, len(os.sched_getaffinity(0))),
        legacy=None if own.legacy.port is None else (own.legacy.host or own.listen.host, own.legacy.port),
        limits=_limits(own),
        scanner=own.scanner.clamd,
        listed_for=own.boxes.listed_for,
        staged_for=own.boxes.staged_for,
        guard=own.guard.terms(),
        terms=own.retention.terms(),
        purge_schedule=own.retention.schedule,
        notice_days=own.retention.notice,
        root_provider=own.keys.provider,
        root_token=own.keys.token(),
        mandates={code: file.mandate.value() for code, file in municipality_files.items()},
        approvers=approvers,
        partners=partners,
        policies={
            code: municipality_files.get(code, MunicipalityFile()).policy(
                code, gemeente_names()[code], signals_months=own.retention.signals
            )
            for code in sorted({*municipality_files, *served_by})
        },
        served_by=served_by,
        successors=service.successors(municipality_files),
        further_sectors={each.name: frozenset(each.municipalities) for each in own.sector},
    )


def _limits(own: GatewayFile) -> Limits:
    return Limits(
        file_bytes=own.limits.file,
        rows=own.limits.rows,
        columns=own.limits.columns,
        field_chars=own.limits.field,
        line_bytes=own.limits.line,
        unpacked_bytes=own.limits.unpacked,
        ratio=own.limits.ratio,
    )


def _refuse(problems: list[ConfigError]) -> None:
    if problems:
        raise ConfigErrors(problems)


def _folder(
    model: type[_File],
    folder: str,
    files: Mapping[str, bytes],
    problems: list[ConfigError],
    further: Sequence[str],
) -> dict[str, _File]:
    """The files of a folder that can be read as `model`, by name without `.toml`; `further` sectors are known."""
    read = {
        PurePosixPath(name).stem: _parsed(model, name, files, problems, further)
        for name in files
        if name.startswith(f"{folder}/")
    }
    return {stem: file for stem, file in read.items() if file is not None}


def _parsed(
    model: type[_File],
    name: str,
    files: Mapping[str, bytes],
    problems: list[ConfigError],
    further: Sequence[str] = (),
) -> _File | None:
    """A file as `model`; None after its problems were noted."""
    try:
        table = tomllib.loads(files[name].decode("utf-8"), parse_float=Decimal)
        return model.model_validate(table, context=further)
    except UnicodeDecodeError as exc:
        problems.append(ConfigError(f"not UTF-8 text (byte {exc.start + 1}): save it as UTF-8", file=name))
    except tomllib.TOMLDecodeError as exc:
        problems.append(ConfigError(f"not valid TOML: {exc}", file=name))
    except ValidationError as exc:
        problems += sentences(exc, model, file=name)
    return None


def _municipality_problems(
    municipality_files: Mapping[str, MunicipalityFile], own: GatewayFile
) -> Iterator[ConfigError]:
    for code, municipality in municipality_files.items():
        file = f"{MUNICIPALITIES}/{code}.toml"
        if code not in gemeente_names():
            reason = "the name of the file is no municipality code of CBS: write GM and four digits, such as GM1731.toml"
            yield ConfigError(reason, file=file)
        months = municipality.retention.signals
        if months is not None and months > own.retention.signals:
            reason = f"may only shorten the gateway's own term of {own.retention.signals} months"
            yield ConfigError(reason, file=file, key="retention.signals")
        mandate = municipality.mandate.value()
        if mandate.given_on and mandate.until and mandate.until < mandate.given_on:
            yield ConfigError("ends before it was given", file=file, key="mandate.until")


def _shared_keys(partner_files: Mapping[str, PartnerFile]) -> Iterator[ConfigError]:
    """The key that signed tells the partner: no key may stand twice."""
    owners: dict[str, str] = {}
    for partner_id, partner in partner_files.items():
        for place, key in enumerate(partner.keys):
            _, fingerprint = key.public_key
            owner = owners.setdefault(fingerprint, partner_id)
            if owner != partner_id:
                reason = f"is also a key of the partner {owner}: each partner makes a key of its own"
            elif fingerprint in (earlier.public_key[1] for earlier in partner.keys[:place]):
                reason = "stands here twice: take one out"
            else:
                continue
            yield ConfigError(reason, file=f"{PARTNERS}/{partner_id}.toml", key=f"keys[{place}].public_key")
