"""Every setting that can't be used is refused with file, key and a reason that says what to do."""

from __future__ import annotations

import asyncssh
import pytest

from gateway.domain.partner import Role
from gateway.errors import ConfigErrors
from gateway.settings import load_settings

CREDITOR = 'role = "creditor"\nsectors = ["Huur"]\n'


def one(problems):
    """The only problem there is."""
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[listen]\nprt = 1", "listen.prt", "prt is an unknown setting; did you mean port?"),
        ("[listen]\nport = 70000", "listen.port", "must be 65535 or less, not 70000"),
        ('[listen]\nport = "22"', "listen.port", 'write a whole number, not "22"'),
        ("[listen]\nport = true", "listen.port", "write a whole number, not true"),
        ('[listen]\nhost = "a b"', "listen.host", '"a b" has characters that don\'t belong here'),
        ("[listen]\nport = 2223\n[legacy]\nport = 2223", "legacy.port", "is the port of [listen]"),
        ("[legacy]\nport = -1", "legacy.port", "must be 0 or more"),
        ("listen = 1", "listen", "must be a table with settings of its own, not 1"),
        ('[limits]\nfile = "64 MB"', "limits.file", 'write a whole number and a unit, such as "64 MiB"'),
        ("[limits]\nrows = 0", "limits.rows", "must be 1 or more, not 0"),
        ("[limits]\nrows = 1.5", "limits.rows", "write a whole number, not 1.5"),
        ("[retention]\nsignals = 6", "retention.signals", 'such as "6 months"'),
        ('[retention]\nsignals = "180 days"', "retention.signals", "units: month, year"),
        ('[retention]\nsignals = "2 years"', "retention.signals", "at most 12 months"),
        ('[retention]\nsignals = "0 months"', "retention.signals", "more than nothing"),
        ('[retention]\nraw = "2 months"', "retention.raw", 'such as "14 days"'),
        ('[retention]\nschedule = "30 2 * *"', "retention.schedule", "a cron line has five fields, not 4"),
        ("[guard]\nlogin = 30", "guard.login", 'such as "30 seconds" (units: second, minute, hour)'),
        ('[guard]\nstall = "2 days"', "guard.stall", "units: second, minute, hour"),
        ("[guard]\nconnections = 0", "guard.connections", "must be 1 or more, not 0"),
        ("[guard]\nconections = 1", "guard.conections", "did you mean connections?"),
        ('[guard]\nsafe_networks = ["10.0.0"]', "guard.safe_networks[0]", 'such as "203.0.113.0/24"'),
        ('[guard]\nsafe_networks = ["10.1.0.0/8"]', "guard.safe_networks[0]", "the network is 10.0.0.0/8"),
        ("[guard]\nsafe_networks = [8]", "guard.safe_networks[0]", 'such as "203.0.113.0/24"'),
        (
            '[guard]\npenalty = "2 hours"\nlongest_penalty = "1 hour"',
            "guard.longest_penalty",
            "is shorter than the first one",
        ),
        ('[boxes]\nlisted_for = "1 year"', "boxes.listed_for", 'such as "24 hours"'),
    ],
)
def test_gateway_file(refusals, text, key, reason):
    """A bad value in gateway.toml is named with its key."""
    file, found, why = one(refusals(own=text))
    assert (file, found) == ("gateway.toml", key)
    assert reason in why


@pytest.mark.parametrize(
    "text",
    [
        "[legacy]\nciphers = ['3des-cbc']",
        "[retention]\nreports = '24 months'",
        "[retention]\naudit = '7 years'",
        "[retention]\nhold = '90 days'",
        "[listener]\nprofile = 'legacy'",
        "[sectors]\nHypotheek = 1",
    ],
)
def test_gateway_settings_of_later_versions(refusals, text):
    """Settings that this version does not have are unknown, not ignored."""
    assert "unknown setting" in one(refusals(own=text))[2]


@pytest.mark.parametrize(
    "text",
    [
        'user_ca = "ssh-ed25519 AAAA"',
        'encryption_key = "age1"',
    ],
)
def test_partner_settings_of_later_versions(refusals, text):
    """A partner's settings of later versions are unknown, not ignored."""
    file, key, reason = one(refusals({"partners/wbh.toml": f"{text}\n{CREDITOR}"}))
    assert (file, key) == ("partners/wbh.toml", text.split(" ")[0])
    assert "unknown setting" in reason


@pytest.mark.parametrize("value", ["0", "32", '"5"', "5.0", "true"])
def test_a_day_of_the_month(refusals, value):
    """`expected_by` is a whole number from 1 to 31."""
    file, key, _ = one(refusals({"partners/wbh.toml": f"expected_by = {value}\n{CREDITOR}"}))
    assert (file, key) == ("partners/wbh.toml", "expected_by")


def test_only_creditors_are_expected_to_deliver(refusals):
    """A municipality has no such day."""
    text = 'role = "municipality"\nserves = ["GM1731"]\nexpected_by = 5\n'
    file, key, reason = one(refusals({"partners/md.toml": text}))
    assert (file, key) == ("partners/md.toml", "expected_by")
    assert "role creditor" in reason


def test_only_two_outcomes_can_be_listed(refusals):
    """`tell` opens no reason and no help."""
    file, key, reason = one(refusals({"municipalities/GM1731.toml": '[feedback]\ntell = ["OPGEPAKT"]'}))
    assert (file, key) == ("municipalities/GM1731.toml", "feedback.tell")
    assert "GEEN_HULP" in reason


@pytest.mark.parametrize(
    "text",
    [
        "[mandate]\napprovers = 2",
        "legal_basis = ''",
    ],
)
def test_municipality_settings_of_later_versions(refusals, text):
    """A municipality's settings of later versions are unknown, not ignored."""
    assert "unknown setting" in one(refusals({"municipalities/GM1731.toml": text}))[2]


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ('[matching]\nkey = "adress"', "matching.key", '"person", not "adress"; did you mean address?'),
        ("[matching]\nconsecutive_months = 1", "matching.consecutive_months", "2 to 6, not 1"),
        ("[matching]\nconsecutive_months = 7", "matching.consecutive_months", "2 to 6, not 7"),
        ('[matching]\nbridging = "yes"', "matching.bridging", 'write true or false, not "yes"'),
        ("[matching]\nmin_distinct = 0", "matching.min_distinct", "must be 1 or more, not 0"),
        ('[matching]\nalways_sectors = ["huur"]', "matching.always_sectors[0]", "Huur, Energie, Water, Zorg"),
        ('[matching]\nalways_sectors = "Huur"', "matching.always_sectors", "a list in square brackets"),
        ("[matching.min_amount]\nhuur = 5", "matching.min_amount.huur", "'huur' is no sector"),
        ("[matching.min_amount]\nHuur = 0.005", "matching.min_amount.Huur", "at most two decimals"),
        ("[matching.min_amount]\nHuur = -1", "matching.min_amount.Huur", "not negative"),
        ("[matching.min_amount]\nHuur = true", "matching.min_amount.Huur", "an amount in euro"),
        ("[matching.min_amount]\nHuur = nan", "matching.min_amount.Huur", "an amount in euro"),
        ('[ranking]\norder = ["totl"]', "ranking.order", "totl"),
        ('[ranking]\norder = ["total", "total"]', "ranking.order", "stands twice: total"),
        ("[actions]\nvisit_capacity = -1", "actions.visit_capacity", "must be 0 or more"),
        ('[actions]\nvisit = ""', "actions.visit", "1 to 200 printable characters"),
        ('[actions]\nmatch = "a\\nb"', "actions.match", "printable"),
        ('[actions]\ndeadline_from = "x"', "actions.deadline_from", '"receipt" or "publication", not "x"'),
        ('[publish]\nwhen = "0 7 * *"', "publish.when", "a cron line has five fields, not 4"),
        ('[publish]\nwhen = "0 25 * * *"', "publish.when", "25"),
        ("[publish]\nsettle_s = -1", "publish.settle_s", "must be 0"),
        ("[arrears_days]\nZorg = [100, 30]", "arrears_days.Zorg", "[30, 100]"),
        ("[arrears_days]\nZorg = 30", "arrears_days.Zorg", "[30, 100]"),
        ("[arrears_days]\nWatr = [30]", "arrears_days.Watr", "'Watr' is no sector"),
        ('[retention]\nraw = "7 days"', "retention.raw", "unknown setting"),
        ('[retention]\nsignals = "7 months"', "retention.signals", "may only shorten"),
    ],
)
def test_municipality_file(refusals, text, key, reason):
    """A bad value in a municipality's policy is named with its key."""
    file, found, why = one(refusals({"municipalities/GM1731.toml": text}))
    assert (file, found) == ("municipalities/GM1731.toml", key)
    assert reason in why


@pytest.mark.parametrize("name", ["GM9999", "gm1731", "1731", "midden-drenthe"])
def test_municipality_file_name(refusals, name):
    """The name of a policy file must be a code of CBS."""
    file, _, reason = one(refusals({f"municipalities/{name}.toml": ""}))
    assert file == f"municipalities/{name}.toml"
    assert "GM1731.toml" in reason


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("", "role", "is missing"),
        ('role = "creditr"', "role", 'not "creditr"; did you mean creditor?'),
        ('role = "creditor"', "sectors", 'a creditor names its sectors, such as ["Huur"]'),
        ('role = "municipality"', "serves", "names what it serves"),
        ('role = "auditor"', "scope", "an auditor names its scope"),
        ('role = "auditor"\nscope = "everything"', "scope", 'write "all" or a list'),
        (
            'role = "municipality"\nserves = ["GM9999"]',
            "serves[0]",
            "GM9999 is no municipality in the list of CBS",
        ),
        ('role = "municipality"\nserves = ["1731"]', "serves[0]", "write GM and four digits"),
        ('role = "creditor"\nsectors = ["Hypotheek"]', "sectors[0]", "Huur, Energie, Water, Zorg"),
        (
            f'{CREDITOR}serves = ["GM1731"]',
            "serves",
            "is for the role municipality, and this partner is creditor",
        ),
        ('role = "auditor"\nscope = "all"\ncolumns = {}', "columns", "is for the role creditor"),
        (f'{CREDITOR}id = "other"', "id", 'must be the name of the file: "wbh"'),
        (f'{CREDITOR}id = "Wbh"', "id", "2 to 32 characters"),
        (
            f'{CREDITOR}allowed_networks = ["10.0.0.1/24"]',
            "allowed_networks[0]",
            "the network is 10.0.0.0/24",
        ),
        (f'{CREDITOR}allowed_networks = "10.0.0.0/8"', "allowed_networks", "a list in square brackets"),
        (f"{CREDITOR}[limits]\nsessions = 0", "limits.sessions", "must be 1 or more, not 0"),
        (f"{CREDITOR}[limits]\nfiles = 5", "limits.files", "unknown setting"),
        (f'{CREDITOR}[limits]\nbytes_per_day = "2 PB"', "limits.bytes_per_day", 'such as "10 GiB"'),
        (
            f'{CREDITOR}[limits]\nbytes_per_day = "2 TiB"',
            "limits.bytes_per_day",
            "at most 1,099,511,627,776 bytes",
        ),
        (f'{CREDITOR}contact = "nobody"', "contact", "one mail address"),
        (f'{CREDITOR}mode = "test"', "mode", '"live" or "proef", not "test"'),
        (f'{CREDITOR}language = "de"', "language", '"nl" or "en", not "de"'),
        (f'{CREDITOR}name = ""', "name", "1 to 200 printable characters"),
        (f'{CREDITOR}temporary_names = "*.part"', "temporary_names", "a list in square brackets"),
        (f'{CREDITOR}temporary_names = ["a/b"]', "temporary_names[0]", "patterns of file names"),
        (f'{CREDITOR}columns = {{ "Klant" = "klantnumer" }}', "columns.Klant", "did you mean klantnummer?"),
        (
            f'{CREDITOR}columns = {{ "BSN" = "klantnummer" }}',
            "columns.BSN",
            "is refused, whatever it is called",
        ),
        (
            f'{CREDITOR}columns = {{ "Naam" = "achternaam", "Achter" = "achternaam" }}',
            "columns.Achter",
            "achternaam stands here twice",
        ),
        (
            f'{CREDITOR}defaults = {{ sociaal_incaso = "J" }}',
            "defaults.sociaal_incaso",
            "mean sociaal_incasso?",
        ),
        (f'{CREDITOR}defaults = {{ signaal_id = "1" }}', "defaults.signaal_id", '"auto" is the only default'),
        (f'{CREDITOR}defaults = {{ sector = "Zorg" }}', "defaults.sector", "none of this partner's sectors"),
        (f"{CREDITOR}defaults = {{ product = 1 }}", "defaults.product", "write text in quotes, not 1"),
        (f"{CREDITOR}[[keys]]", "keys[0].public_key", "is missing"),
        (f"{CREDITOR}[[keys]]\npublic_key = 1", "keys[0].public_key", "the line of the .pub file"),
        (f'{CREDITOR}[[keys]]\npublic_key = "ssh-ed25519 AA"', "keys[0].public_key", "not a public key"),
    ],
)
def test_partner_file(refusals, text, key, reason):
    """A bad value in a partner's file is named with its key."""
    file, found, why = one(refusals({"partners/wbh.toml": text}))
    assert (file, found) == ("partners/wbh.toml", key)
    assert reason in why


def test_file_name_is_the_id(refusals):
    """A partner without `id` is named by its file, which must then be an id."""
    file, key, reason = one(refusals({"partners/Wbh.toml": CREDITOR}))
    assert (file, key) == ("partners/Wbh.toml", "")
    assert "the name of the file is the partner's id" in reason


def test_key_window(refusals, public_keys):
    """A key that ends before it begins is refused, and so is a moment without its offset."""
    key = f'{CREDITOR}[[keys]]\npublic_key = "{public_keys[0]}"\n'
    ends_first = key + "valid_from = 2026-02-01\nvalid_until = 2026-01-01"
    assert one(refusals({"partners/wbh.toml": ends_first}))[1:] == (
        "keys[0].valid_until",
        "ends before it begins",
    )
    naive = key + "valid_until = 2026-01-01T12:00:00"
    assert "with its offset" in one(refusals({"partners/wbh.toml": naive}))[2]


def test_one_key_at_two_partners(refusals, public_keys):
    """The same public key at two partners is refused, whatever its comment."""
    files = {
        "partners/aaa.toml": f'{CREDITOR}[[keys]]\npublic_key = "{public_keys[0]} first"',
        "partners/bbb.toml": f'{CREDITOR}[[keys]]\npublic_key = "{public_keys[1]}"\n'
        f'[[keys]]\npublic_key = "{public_keys[0]} second"',
    }
    file, key, reason = one(refusals(files))
    assert (file, key) == ("partners/bbb.toml", "keys[1].public_key")
    assert "also a key of the partner aaa" in reason


def test_one_key_twice_at_a_partner(refusals, public_keys):
    """The same public key twice at one partner is refused: which window would hold?"""
    twice = f'[[keys]]\npublic_key = "{public_keys[0]}"\n' * 2
    assert one(refusals({"partners/aaa.toml": CREDITOR + twice}))[1:] == (
        "keys[1].public_key",
        "stands here twice: take one out",
    )


def test_two_partners_serve_one_municipality(refusals):
    """Two partners that serve one municipality are refused, unless a route takes all."""
    files = {
        "partners/aaa.toml": 'role = "municipality"\nserves = ["GM1731", "GM0072"]',
        "partners/bbb.toml": 'role = "municipality"\nserves = ["GM0072"]',
    }
    file, key, reason = one(refusals(files))
    assert (file, key) == ("partners/bbb.toml", "serves")
    assert "GM0072 is served by the partner aaa already" in reason
    assert "end config/municipalities/GM0072.toml with a [[route]]" in reason
    some = {"municipalities/GM0072.toml": '[[route]]\nto = "bbb"\ntotal_over = 500'}
    assert one(refusals(files | some))[:2] == ("partners/bbb.toml", "serves")


SERVING = 'role = "municipality"\nserves = ["GM1731"]\n'


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[[route]]\nknown = true", "route[0].to", "is missing"),
        ('[[route]]\nto = "sdd"', "route[0].to", "there is no partner 'sdd': gateway partner add"),
        (
            '[[route]]\nto = "own"\n[[route]]\nto = "wbh"',
            "route[1].to",
            "wbh is a partner of the role creditor",
        ),
        ('[[route]]\nto = "trial"', "route[0].to", "trial has mode proef: nothing is passed on to it"),
        ('[[route]]\nto = "own"\nknow = true', "route[0].know", "did you mean known?"),
        ('[[route]]\nto = "own"\nknown = "J"', "route[0].known", "write true or false"),
        ('[[route]]\nto = "own"\ntotal_over = -1', "route[0].total_over", "not negative"),
        ('[[route]]\nto = "own"\nklasse = "VERVALLEN"', "route[0].klasse", '"MATCH" or "ENKELVOUDIG"'),
        ('[[route]]\nto = "own"\nsectors = ["Hypotheek"]', "route[0].sectors[0]", "needs a [[sector]]"),
        ('[[route]]\nto = "own"\nsectors = []', "route[0].sectors", "names none"),
        ('[[route]]\nto = "own"\npostcodes = ["331"]', "route[0].postcodes[0]", "such as 3311 or 3312AB"),
        ('[[route]]\nto = "own"\npostcodes = []', "route[0].postcodes", "names none"),
        ('successor = "GM0072"', "from", "is missing: the day"),
        ("from = 2027-01-01", "successor", "is missing: the code"),
        ('successor = "GM9999"\nfrom = 2027-01-01', "successor", "no municipality in the list of CBS"),
        ('successor = "GM0072"\nfrom = "soon"', "from", "write a day, such as 2026-12-31"),
        ('succesor = "GM0072"\nfrom = 2027-01-01', "succesor", "did you mean successor?"),
        ('successor = "GM1731"\nfrom = 2027-01-01', "successor", "comes back to this municipality"),
    ],
)
def test_routes_and_mergers(refusals, text, key, reason):
    """A route to nobody, or one that is never meant; a merger without its day or with itself."""
    files = {
        "municipalities/GM1731.toml": text,
        "partners/own.toml": SERVING,
        "partners/trial.toml": f'{SERVING}mode = "proef"',
        "partners/wbh.toml": CREDITOR,
    }
    problems = [each for each in refusals(files) if each[1] == key]
    file, _, why = one(problems)
    assert file == "municipalities/GM1731.toml"
    assert reason in why


def test_municipalities_that_merge_in_a_circle(refusals):
    """Each of the circle is refused; who leads into it is not to blame."""
    problems = refusals(
        {
            "municipalities/GM0034.toml": 'successor = "GM0072"\nfrom = 2027-01-01',
            "municipalities/GM0072.toml": 'successor = "GM1731"\nfrom = 2027-01-01',
            "municipalities/GM1731.toml": 'successor = "GM0072"\nfrom = 2028-01-01',
        }
    )
    assert [(file, key) for file, key, _ in problems] == [
        ("municipalities/GM0072.toml", "successor"),
        ("municipalities/GM1731.toml", "successor"),
    ]


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ('name = "Hypotheek"\nmunicipalities = ["GM1731"]', "legal_basis", "is missing"),
        ('name = "Hypotheek"\nlegal_basis = ""\nmunicipalities = ["GM1731"]', "legal_basis", "1 to 200"),
        ('name = "Hypotheek"\nlegal_basis = "x"\nmunicipalities = []', "municipalities", "at least one"),
        (
            'name = "Hypotheek"\nlegal_basis = "x"\nmunicipalities = ["GM9999"]',
            "municipalities[0]",
            "list of CBS",
        ),
        ('name = "huur"\nlegal_basis = "x"\nmunicipalities = ["GM1731"]', "name", "the Wgs names it"),
        ('name = "a,b"\nlegal_basis = "x"\nmunicipalities = ["GM1731"]', "name", "such as Hypotheek"),
    ],
)
def test_further_sectors(refusals, text, key, reason):
    """A further sector names its legal basis and its municipalities."""
    file, found, why = one(refusals(own=f"[[sector]]\n{text}"))
    assert (file, found) == ("gateway.toml", f"sector[0].{key}")
    assert reason in why


def test_a_sector_twice(refusals):
    """Whatever its case: which legal basis would hold?"""
    tables = [
        f'[[sector]]\nname = "{name}"\nlegal_basis = "x"\nmunicipalities = ["GM1731"]'
        for name in ("DUO", "Duo")
    ]
    assert one(refusals(own="\n".join(tables)))[1:] == ("sector[1].name", "stands twice: take one out")


def test_all_problems_are_told_together(refusals):
    """Problems in several files, and several in one, come in one refusal."""
    problems = refusals(
        {
            "partners/aaa.toml": 'role = "creditr"\nlanguage = "de"',
            "municipalities/GM1731.toml": "[matchng]",
        },
        own="[listen]\nport = -1",
    )
    assert [(file, key) for file, key, _ in problems] == [
        ("gateway.toml", "listen.port"),
        ("partners/aaa.toml", "role"),
        ("partners/aaa.toml", "language"),
        ("municipalities/GM1731.toml", "matchng"),
    ]


def test_not_toml(refusals):
    """A file that is no TOML is refused with its line."""
    file, _, reason = one(refusals({"partners/aaa.toml": 'role = "creditor"\nsectors = [\n= 3'}))
    assert file == "partners/aaa.toml"
    assert "line 3" in reason


def test_not_utf8(refusals):
    """A file that is no UTF-8 is refused with the place."""
    reason = one(refusals({"partners/aaa.toml": b'name = "Caf\xe9"'}))[2]
    assert "not UTF-8 text (byte 12)" in reason


def test_a_folder_that_is_no_home(tmp_path):
    """Without config/gateway.toml the folder is no home, and the refusal says how to make or name one."""
    with pytest.raises(ConfigErrors, match=r"gateway init DIR.*--home DIR"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("ssh-dss", {}), ("ssh-rsa", {"key_size": 2048}), ("ecdsa-sha2-nistp521", {}), ("ssh-ed448", {})],
)
def test_weak_keys(refusals, algorithm, options):
    """DSA, short RSA and curves outside the list are refused, with what to do."""
    key = asyncssh.generate_private_key(algorithm, **options)
    line = key.export_public_key("openssh").decode().strip()
    _, name, reason = one(refusals({"partners/aaa.toml": f'{CREDITOR}[[keys]]\npublic_key = "{line}"'}))
    assert name == "keys[0].public_key"
    assert "ssh-keygen -t ed25519" in reason


def test_private_key_in_the_configuration(refusals):
    """A private key that was pasted is refused and not repeated."""
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh").decode()
    reason = one(refusals({"partners/aaa.toml": f'{CREDITOR}[[keys]]\npublic_key = """{key}"""'}))[2]
    assert "this is a private key" in reason
    assert key.splitlines()[1] not in reason


def test_every_role_has_its_settings(refusals):
    """Each role refuses the settings of the others."""
    settings = {
        Role.CREDITOR: 'sectors = ["Huur"]',
        Role.MUNICIPALITY: 'serves = ["GM1731"]',
        Role.AUDITOR: 'scope = "all"',
    }
    for role in Role:
        text = f'role = "{role}"\n' + "\n".join(settings.values())
        keys = {key for _, key, _ in refusals({"partners/aaa.toml": text})}
        assert keys == {"sectors", "serves", "scope"} - {settings[role].split(" ")[0]}


def test_mandates_that_cannot_be(refusals):
    """Who approves is one of three; a mandate has days, ends after it began, and its text is one line."""
    for table, key in (
        ("approval = 'per batch'", "mandate.approval"),
        ("date = 'gisteren'", "mandate.date"),
        ("reference = 'a\\nb'", "mandate.reference"),
        ("date = 2026-03-01\nuntil = 2026-02-28", "mandate.until"),
    ):
        text = f"[mandate]\n{table}".replace("'a\\nb'", '"a\\nb"')
        file, found, _ = one(refusals({"municipalities/GM1731.toml": text}))
        assert (file, found) == ("municipalities/GM1731.toml", key)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("archivaris", "write `archivaris namespaces="),
        ("archivaris KEY", "not a public key"),
        ('archivaris namespaces="file" ONE', "namespaces must name retention@gateway"),
        ("archivaris cert-authority ONE", "cert-authority is not accepted"),
        ("archivaris no-touch-required ONE", "no-touch-required is an unknown option"),
        ("archivaris valid-befor=20260101 ONE", "did you mean valid-before?"),
        ("archivaris valid-after=2026-01-01 ONE", "valid-after must be a time such as 20271231"),
        ("archivaris valid-before=20261301 ONE", "valid-before must be a time such as 20271231"),
        ("archivaris valid-after=20270101,valid-before=20260101 ONE", "lies before valid-after"),
        ("archivaris valid-after=20270101,valid-after=20260101 ONE", "valid-after stands here twice"),
        ("jansen@example.nl ONE", "no mail address"),
        ("archivaris,controller ONE", "no mail address, list or pattern"),
        ("* ONE", "no mail address, list or pattern"),
    ],
)
def test_approvers_that_cannot_be(refusals, public_keys, line, reason):
    """The line is named, and nothing that would be read otherwise than ssh-keygen reads it is passed over."""
    text = f"# approvers\n{line.replace('ONE', public_keys[0])}\n"
    file, key, why = one(refusals({"approvers": text}))
    assert (file, key) == ("approvers", "line 2")
    assert reason in why


def test_no_key_approves_for_two(refusals, public_keys):
    """The same key under another principal would be two people in one."""
    text = f"archivaris {public_keys[0]}\ncontroller {public_keys[0]} again\n"
    _, key, why = one(refusals({"approvers": text}))
    assert (key, why) == ("line 2", "this key stands on line 1 too: each has a key of their own")
    assert "UTF-8" in one(refusals({"approvers": b"\xff"}))[2]
