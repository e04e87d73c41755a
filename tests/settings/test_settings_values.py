"""What the configuration means, once it can be used."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_network

import asyncssh
import pytest

from gateway.domain.certificate import Mandate
from gateway.domain.feedback import FeedbackCode, FeedbackPolicy, HelpAccepted
from gateway.domain.guard import GuardTerms
from gateway.domain.melding import Klasse
from gateway.domain.partner import TEMPORARY_NAMES, Mode, PartnerLimits, Role
from gateway.domain.policy import (
    DEFAULT_ORDER,
    Actions,
    ConsecutiveBy,
    DeadlineFrom,
    DistinctBy,
    Matching,
    Policy,
    Route,
)
from gateway.domain.retention import Terms
from gateway.errors import ConfigError
from gateway.exchange.keys import create_host_key, host_key_fingerprint, parse_public_key
from gateway.exchange.login import signer
from gateway.files.table import Limits
from gateway.matching.municipality import Successor
from gateway.settings.gemeenten import gemeente_names
from gateway.settings.shipped import PRESETS, approvers, example, preset

CREDITOR = 'role = "creditor"\nsectors = ["Huur"]\n'


def test_everything_has_a_default(configure):
    """An empty gateway.toml gives the defaults of the spec."""
    settings = configure()
    assert (settings.host, settings.port) == ("0.0.0.0", 2222)
    assert settings.limits == Limits(
        file_bytes=64 * 1024**2, rows=100_000, columns=200, field_chars=1_000, line_bytes=64 * 1024
    )
    assert settings.listed_for == settings.staged_for == timedelta(hours=24)
    assert settings.terms == Terms(signals_months=6, raw_days=14, dispatches_months=6, excluded_days=1)
    assert settings.purge_schedule == "30 2 * * *"
    assert settings.guard == GuardTerms()
    assert (settings.notice_days, settings.mandates) == (14, {})
    assert settings.partners == settings.policies == settings.served_by == {}


def test_the_example_shows_the_defaults(configure):
    """The commented example is the defaults, as it stands and with every comment taken away."""
    taken = example().replace("\n# ", "\n").split("\n", 4)[4]
    assert "port = 2222" in taken
    shown, left_out, set_ = (
        replace(configure(own=own), digest="the files differ") for own in (example(), "", taken)
    )
    assert shown == left_out == set_


def test_the_legacy_listener(configure):
    """There is none unless it has a port; its address is the listener's unless it has its own."""
    assert configure(own="[legacy]\n").legacy is None
    assert configure(own="[legacy]\nhost = '10.0.0.1'\n").legacy is None
    assert configure(own="[listen]\nhost = '10.0.0.1'\n[legacy]\nport = 0\n").legacy == ("10.0.0.1", 0)
    own = "[listen]\nport = 22\n[legacy]\nhost = '10.0.0.2'\nport = 2223\n"
    assert configure(own=own).legacy == ("10.0.0.2", 2223)


def test_a_disabled_partner(configure, public_keys):
    """None of its keys counts, none is said to end soon; it stays a partner."""
    key = f'[[keys]]\npublic_key = "{public_keys[0]}"\nvalid_until = 2026-12-01\n'
    now = datetime(2026, 11, 22, tzinfo=UTC)
    for line, can in (("", True), ("disabled = false\n", True), ("disabled = true\n", False)):
        partner = configure({"partners/wbh.toml": line + CREDITOR + key}).partners["wbh"]
        assert (partner.is_disabled, partner.can_log_in(now)) == (not can, can)
        assert (signer({"wbh": partner}, "wbh", partner.keys[0].fingerprint, now) is partner) is can
        assert len(partner.ending_keys(now)) == can


@pytest.mark.parametrize(
    ("until", "is_ending", "last_day"),
    [
        ("2026-12-21", True, date(2026, 12, 21)),
        ("2026-12-22", False, date(2026, 12, 22)),
        ("2026-11-21", False, date(2026, 11, 21)),
        ("2026-12-22T00:00:00+01:00", True, date(2026, 12, 21)),
    ],
)
def test_a_key_that_ends_soon(configure, public_keys, until, is_ending, last_day):
    """Within 30 days, to the instant; a key that has ended already is not one."""
    key = f'[[keys]]\npublic_key = "{public_keys[0]}"\nvalid_until = {until}\n'
    partner = configure({"partners/wbh.toml": CREDITOR + key}).partners["wbh"]
    # the first instant of 22 November in the Netherlands
    now = datetime(2026, 11, 21, 23, 0, tzinfo=UTC)
    assert (bool(partner.ending_keys(now)), partner.keys[0].last_day) == (is_ending, last_day)


@pytest.mark.parametrize(
    ("line", "days"),
    [
        ("", (None, None)),
        ("expected_by = 10\n", (date(2026, 11, 10), date(2027, 2, 10))),
        ("expected_by = 31\n", (date(2026, 11, 30), date(2027, 2, 28))),
    ],
)
def test_when_a_creditor_is_expected(configure, line, days):
    """A day of the month, its last at the latest."""
    partner = configure({"partners/wbh.toml": line + CREDITOR}).partners["wbh"]
    assert (partner.expected_in("2026-11"), partner.expected_in("2027-02")) == days


def test_settings_are_frozen(configure):
    """Nothing changes settings after they were read."""
    with pytest.raises(FrozenInstanceError):
        configure().port = 1


def test_units(configure):
    """Durations and sizes are read with their unit, singular and plural."""
    settings = configure(
        own='[retention]\nsignals = "1 year"\nraw = "1 week"\nexcluded = "2 days"\n'
        '[limits]\nfile = "1 GiB"\nline = "512 bytes"\n[boxes]\nlisted_for = "2 days"\nstaged_for = "30 minutes"'
    )
    assert settings.terms == Terms(signals_months=12, raw_days=7, excluded_days=2)
    assert (settings.limits.file_bytes, settings.limits.line_bytes) == (1024**3, 512)
    assert (settings.listed_for, settings.staged_for) == (timedelta(days=2), timedelta(minutes=30))


def test_guard(configure):
    """What visitors are granted, in general and to one partner."""
    own = (
        '[guard]\nlogin = "5 seconds"\nconnections = 7\nconnections_per_address = 3\nidle = "1 hour"\n'
        'stall = "30 seconds"\nrefusals = 2\npenalty = "10 seconds"\nlongest_penalty = "2 days"\n'
        'half_life = "30 minutes"\nsafe_networks = ["192.0.2.0/24", "2001:db8::1"]'
    )
    partner = (
        'allowed_networks = ["203.0.113.9", "2001:db8::/32"]\n'
        '[limits]\nsessions = 2\nbytes_per_day = "1 TiB"\nfiles_per_day = 5'
    )
    settings = configure({"partners/wbh.toml": f"{CREDITOR}{partner}"}, own=own)
    assert settings.guard == GuardTerms(
        login=timedelta(seconds=5),
        connections=7,
        connections_per_address=3,
        idle=timedelta(hours=1),
        stall=timedelta(seconds=30),
        refusals=2,
        penalty=timedelta(seconds=10),
        longest_penalty=timedelta(days=2),
        half_life=timedelta(minutes=30),
        safe_networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::1/128")),
    )
    wbh = settings.partners["wbh"]
    assert wbh.allowed_networks == (ip_network("203.0.113.9/32"), ip_network("2001:db8::/32"))
    assert wbh.limits == PartnerLimits(sessions=2, bytes_per_day=1024**4, files_per_day=5)


def test_presets_equal_the_spec(configure):
    """Each preset makes the policy that spec 3 gives it."""
    codes = {
        "ris": "GM0034",
        "vps": "GM0072",
        "midden-drenthe": "GM1731",
        "nwf": "GM0088",
        "drechtsteden": "GM0505",
    }
    partners = dict.fromkeys(("sdd", "gemeente"), 'role = "municipality"\nserves = ["GM0505"]')
    settings = configure(
        {f"municipalities/{code}.toml": preset(name) for name, code in codes.items()}
        | {f"partners/{name}.toml": text for name, text in partners.items()}
    )
    policies = {name: replace(settings.policies[code], code="", name="") for name, code in codes.items()}
    defaults = Policy(code="")
    vps = Matching(
        distinct_by=DistinctBy.SECTOR, consecutive_months=3, consecutive_by=ConsecutiveBy.DIFFERENT_SECTOR
    )
    both_ends = {"Huur": (30, 100), "Energie": (30, 100), "Water": (30, 100), "Zorg": (30, 100)}
    assert policies == {
        "ris": defaults,
        "vps": replace(defaults, matching=vps),
        "midden-drenthe": replace(
            defaults,
            matching=Matching(consecutive_months=2, consecutive_by=ConsecutiveBy.SAME_CREDITOR),
            actions=Actions(deadline_from=DeadlineFrom.PUBLICATION),
        ),
        "nwf": replace(
            defaults,
            matching=Matching(bridging=True),
            order=("crisis", "creditors", "bridging", "total"),
            arrears_days=both_ends,
        ),
        "drechtsteden": replace(
            defaults,
            actions=Actions(visit_capacity=0),
            routes=(
                Route(to="sdd", known=True),
                Route(to="gemeente", total_over_cents=50_000),
                Route(to="sdd"),
            ),
        ),
    }
    assert settings.served_by["GM0505"] == "sdd"
    stated = (
        preset("drechtsteden")
        .replace("# [known", "[known")
        .replace('# legal_basis = ""', 'legal_basis = "x"')
    )
    files = {"municipalities/GM0505.toml": stated} | {
        f"partners/{name}.toml": text for name, text in partners.items()
    }
    assert configure(files).policies["GM0505"].known_residents_basis == "x"
    assert policies["midden-drenthe"].order == DEFAULT_ORDER


@pytest.mark.parametrize("name", PRESETS)
def test_presets_cite_what_they_follow(name):
    """Every setting of a preset bears a comment with its seed, or says that no seed speaks."""
    for line in preset(name).splitlines():
        if line and not line.startswith(("#", "[")) and line not in ("order = [", "]"):
            assert "# [seed " in line or "# no seed: " in line, line


def test_no_such_preset():
    """It is refused with the names that there are."""
    with pytest.raises(ConfigError, match=r"no preset 'rsi': choose ris"):
        preset("rsi")


def test_routes(configure):
    """Every condition; of several partners the one that takes all is said to serve."""
    text = (
        '[[route]]\nto = "team"\nknown = false\ntotal_over = 99.50\nklasse = "MATCH"\nsectors = ["Huur"]\n'
        'postcodes = ["3311", "3312 ab"]\n[[route]]\nto = "own"\n'
    )
    settings = configure(
        {
            "municipalities/GM0505.toml": text,
            "partners/own.toml": 'role = "municipality"\nserves = ["GM0505", "GM0590"]',
            "partners/team.toml": 'role = "municipality"\nserves = ["GM0505"]',
        }
    )
    assert settings.policies["GM0505"].routes == (
        Route(
            to="team",
            known=False,
            total_over_cents=9_950,
            klasse=Klasse.MATCH,
            sectors=("Huur",),
            postcodes=("3311", "3312AB"),
        ),
        Route(to="own"),
    )
    assert settings.served_by == {"GM0505": "own", "GM0590": "own"}


def test_a_partner_on_trial_serves_nobody(configure):
    """Nothing real may reach it: its municipality is not connected, and another partner may serve it."""
    trial = 'role = "municipality"\nserves = ["GM1731"]\nmode = "proef"'
    settings = configure({"partners/aaa.toml": trial})
    assert (settings.served_by, settings.partners["aaa"].mode) == ({}, Mode.TRIAL)
    live = 'role = "municipality"\nserves = ["GM1731"]\nmode = "live"'
    assert configure({"partners/bbb.toml": live}).served_by == {"GM1731": "bbb"}


def test_a_merger(configure):
    """Who took over, and from when."""
    settings = configure({"municipalities/GM0072.toml": 'successor = "GM1731"\nfrom = 2027-01-01'})
    assert settings.successors == {"GM0072": Successor("GM1731", date(2027, 1, 1))}


def test_further_sectors(configure):
    """A sector with a legal basis is one for partners and policies as the four of the Wgs."""
    settings = configure(
        {
            "partners/bank.toml": 'role = "creditor"\nsectors = ["Hypotheek"]\ndefaults = {sector = "Hypotheek"}',
            "municipalities/GM1731.toml": '[matching]\nalways_sectors = ["Hypotheek"]\n'
            "[matching.min_amount]\nHypotheek = 100\n[arrears_days]\nHypotheek = [60]\n",
        },
        own='[[sector]]\nname = "Hypotheek"\nlegal_basis = "Wgs art. 10"\nmunicipalities = ["GM1731"]',
    )
    assert settings.further_sectors == {"Hypotheek": frozenset({"GM1731"})}
    policy = settings.policies["GM1731"]
    assert policy.matching.always_sectors == ("Hypotheek",)
    assert (policy.matching.min_amount_cents, policy.arrears_days["Hypotheek"]) == (
        {"Hypotheek": 10_000},
        (60, None),
    )


def test_a_municipality_shortens_its_term(configure):
    """A policy's own term holds; without one the gateway's does."""
    settings = configure(
        {
            "municipalities/GM1731.toml": '[retention]\nsignals = "3 months"',
            "municipalities/GM0072.toml": "",
        },
        own='[retention]\nsignals = "5 months"',
    )
    assert settings.policies["GM1731"].signals_months == 3
    assert settings.policies["GM0072"].signals_months == 5


@pytest.mark.parametrize(
    ("written", "cents"),
    [("500", 50_000), ("99.50", 9_950), ('"99.50"', 9_950), ("0.29", 29), ("0", 0), ("1e3", 100_000)],
)
def test_money_is_exact(configure, written, cents):
    """Euro in the file are cents inside, without a float between."""
    settings = configure({"municipalities/GM1731.toml": f"[matching.min_amount]\nHuur = {written}"})
    assert settings.policies["GM1731"].matching.min_amount_cents == {"Huur": cents}


def test_feedback(configure):
    """Consent and nothing told, unless the municipality says otherwise."""
    assert configure({"municipalities/GM1731.toml": ""}).policies["GM1731"].feedback == FeedbackPolicy()
    text = '[feedback]\nhelp_accepted = "never"\ntell = ["GEEN_HULP"]'
    assert configure({"municipalities/GM1731.toml": text}).policies["GM1731"].feedback == FeedbackPolicy(
        help_accepted=HelpAccepted.NEVER, tell=(FeedbackCode.NO_HELP,)
    )


def test_arrears_days(configure):
    """A sector that is not named keeps its window; an upper end may be left out."""
    settings = configure({"municipalities/GM1731.toml": "[arrears_days]\nZorg = [60]\nHuur = [30, 100]"})
    assert settings.policies["GM1731"].arrears_days == {
        "Huur": (30, 100),
        "Energie": (30, None),
        "Water": (30, None),
        "Zorg": (60, None),
    }


def test_who_serves_whom(configure):
    """A served municipality has a policy, its own or the default, and a name."""
    settings = configure(
        {
            "partners/sdd.toml": 'role = "municipality"\nserves = ["GM0505", "GM1731"]',
            "municipalities/GM1731.toml": '[matching]\nkey = "person"',
            "municipalities/GM0072.toml": "",
        }
    )
    assert settings.served_by == {"GM0505": "sdd", "GM1731": "sdd"}
    assert list(settings.policies) == ["GM0072", "GM0505", "GM1731"]
    assert settings.policies["GM0505"] == Policy(code="GM0505", name="Dordrecht")
    assert settings.policies["GM1731"].matching.key == "person"


def test_a_whole_partner(configure, public_keys):
    """Every setting of a partner arrives."""
    text = f"""
        id = "wbh"
        name = "Woonstichting De Brug"
        role = "creditor"
        contact = "beheer@example.nl"
        language = "en"
        sectors = ["Huur", "Energie"]
        temporary_names = ["*.uploading"]
        columns = {{ "Deb.nr" = "klantnummer" }}
        defaults = {{ signaal_id = "auto", sector = "Huur" }}
        [[keys]]
        public_key = "{public_keys[0]} anna"
        valid_from = 2026-01-01
        valid_until = 2026-12-31
        comment = "server"
        [[keys]]
        public_key = "{public_keys[1]}"
        valid_until = "2026-06-01T12:00:00+02:00"
    """
    partner = configure({"partners/wbh.toml": text}).partners["wbh"]
    assert (partner.id, partner.name, partner.role) == ("wbh", "Woonstichting De Brug", Role.CREDITOR)
    assert (partner.contact, partner.language) == ("beheer@example.nl", "en")
    assert (partner.sectors, partner.serves, partner.scope) == (("Huur", "Energie"), (), ())
    assert partner.temporary_names == ("*.uploading",)
    assert partner.columns == {"Deb.nr": "klantnummer"}
    assert partner.defaults == {"signaal_id": "auto", "sector": "Huur"}
    first, second = partner.keys
    assert first.public_key == " ".join(public_keys[0].split()[:2])
    assert first.fingerprint.startswith("SHA256:")
    assert first.comment == "server"
    # whole days in the Netherlands: up to and including the last
    assert not first.is_valid(datetime(2025, 12, 31, 22, 59, tzinfo=UTC))
    assert first.is_valid(datetime(2025, 12, 31, 23, 0, tzinfo=UTC))
    assert first.is_valid(datetime(2026, 12, 31, 22, 59, tzinfo=UTC))
    assert not first.is_valid(datetime(2026, 12, 31, 23, 0, tzinfo=UTC))
    assert second.valid_until == datetime(2026, 6, 1, 10, 0, tzinfo=UTC)


def test_a_small_partner(configure):
    """What a partner leaves out has its default."""
    partner = configure({"partners/wbh.toml": CREDITOR}).partners["wbh"]
    assert (partner.name, partner.language, partner.keys) == ("wbh", "nl", ())
    assert partner.temporary_names == TEMPORARY_NAMES


def test_an_auditor(configure):
    """An auditor sees all, or the municipalities named."""
    settings = configure(
        {
            "partners/rekenkamer.toml": 'role = "auditor"\nscope = "all"',
            "partners/fg.toml": 'role = "auditor"\nscope = ["GM0072"]',
        }
    )
    assert settings.partners["rekenkamer"].scope is None
    assert settings.partners["fg"].scope == ("GM0072",)


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("ssh-ed25519", {}),
        ("ssh-rsa", {"key_size": 3072}),
        ("ecdsa-sha2-nistp256", {}),
        ("ecdsa-sha2-nistp384", {}),
    ],
)
def test_accepted_keys(algorithm, options):
    """The kinds of key of spec 1 are accepted, comments left out, PuTTYgen's form too."""
    key = asyncssh.generate_private_key(algorithm, **options)
    line = key.export_public_key("openssh").decode().strip()
    parsed = parse_public_key(f"  {line} een sleutel van José\n")
    assert parsed == (line, key.get_fingerprint())
    assert parse_public_key(key.export_public_key("rfc4716").decode()) == parsed


def test_security_keys():
    """FIDO keys are accepted."""
    line = (
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIHN2RT4sRYbCbVwVxZ5PdJDFqzqnRFdJl"
        "Ro7cTFWNsGVAAAABHNzaDo="
    )
    assert parse_public_key(line)[0] == line


def test_host_key(tmp_path):
    """The host key is Ed25519, its owner's only, and never overwritten."""
    path = tmp_path / "host_ed25519"
    fingerprint = create_host_key(path)
    assert host_key_fingerprint(path) == fingerprint
    assert path.stat().st_mode & 0o777 == 0o600
    assert asyncssh.read_public_key(f"{path}.pub").get_fingerprint() == fingerprint
    with pytest.raises(FileExistsError):
        create_host_key(path)
    assert host_key_fingerprint(path) == fingerprint
    path.write_text("nothing")
    with pytest.raises(ValueError, match="not a private key"):
        host_key_fingerprint(path)


def test_municipalities_of_cbs():
    """The list has all 342 municipalities."""
    assert len(gemeente_names()) == 342
    assert gemeente_names()["GM1731"] == "Midden-Drenthe"


def test_a_mandate_as_it_stands_in_the_file(configure):
    """With days as TOML has them or as text; empty values say that there is none."""
    files = {
        "municipalities/GM1731.toml": '[mandate]\napproval = "mandate"\nreference = "B&W 1"\ndate = 2026-03-01\nuntil = "2027-12-31"',
        "municipalities/GM0303.toml": '[mandate]\nreference = ""\ndate = ""\nuntil = ""',
    }
    assert configure(files).mandates == {
        "GM1731": Mandate(reference="B&W 1", given_on=date(2026, 3, 1), until=date(2027, 12, 31)),
        "GM0303": Mandate(),
    }


def test_approvers_as_ssh_keygen_names_them(configure, public_keys):
    """Principal, options, key, comment; comments and empty lines are skipped; times are of the Netherlands or UTC."""
    one, two, three = public_keys
    lines = [
        "# who may approve",
        "",
        f'archivaris namespaces="retention@gateway,file" {one} with a comment',
        f"  controller {two}",
        f'fg.2 valid-after=20260101,valid-before="202612311200Z",namespaces="retention@gateway" {three}',
    ]
    first, second, third = configure({"approvers": "\n".join(lines)}).approvers
    assert [each.principal for each in (first, second, third)] == ["archivaris", "controller", "fg.2"]
    assert [each.public_key for each in (first, second, third)] == [
        " ".join(line.split()[:2]) for line in public_keys
    ]
    assert first.fingerprint.startswith("SHA256:")
    assert first.is_valid(datetime(2026, 1, 1, tzinfo=UTC))
    assert third.valid_after == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert third.valid_before == datetime(2026, 12, 31, 12, tzinfo=UTC)
    for at, is_valid in (
        (datetime(2025, 12, 31, 22, 59, tzinfo=UTC), False),
        (datetime(2025, 12, 31, 23, tzinfo=UTC), True),
        (datetime(2026, 12, 31, 12, tzinfo=UTC), False),
    ):
        assert third.is_valid(at) == is_valid


def test_approvers_that_come_along_name_nobody(configure):
    """What `gateway init` writes is read, and its examples stand in comments."""
    assert configure({"approvers": approvers()}).approvers == configure().approvers == ()


def test_a_change_of_approvers_is_a_change_of_the_configuration(configure, public_keys):
    """A running gateway takes it up as any other file."""
    before = configure({"approvers": f"archivaris {public_keys[0]}"})
    after = configure({"approvers": f"archivaris {public_keys[1]}"})
    assert before.digest != after.digest
