"""The wire's column names, once, as data (spec 2)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.domain.delivery import Kind

#: Signal file, creditor -> inbox.
SIGNAL_COLUMNS = (
    "signaal_id",
    "sector",
    "product",
    "klantnummer",
    "achternaam",
    "postcode",
    "huisnummer",
    "bedrag",
    "ontstaansdatum",
    "dagen_achterstand",
    "sociaal_incasso",
    "mutatie",
    "signaaltype",
    "crisissignaal",
    "signaaldatum",
    "voorletters",
    "voorvoegsel",
    "geboortedatum",
    "straatnaam",
    "huisletter",
    "huisnummertoevoeging",
    "woonplaats",
    "telefoonnummer",
    "emailadres",
    "warme_overdracht",
    "gemeentecode",
    "datum_einde_levering",
)

#: Columns that every N and W row needs; beside them `ontstaansdatum` or `dagen_achterstand`.
NEEDED = (
    "signaal_id",
    "sector",
    "klantnummer",
    "achternaam",
    "postcode",
    "huisnummer",
    "bedrag",
    "sociaal_incasso",
)
ARREARS = ("ontstaansdatum", "dagen_achterstand")

#: Other spellings of our columns.
ALIASES: Mapping[str, str] = {"sociale_incasso": "sociaal_incasso"}

#: A file that bears one of these is refused unread (F03).
FORBIDDEN = (
    "bsn",
    "burgerservicenummer",
    "sofinummer",
    "iban",
    "rekeningnummer",
    "nationaliteit",
    "diagnose",
)

#: `defaults.signaal_id` of a partner whose files have no ids of their own.
AUTO = "auto"

#: meldingen_<gemeentecode>_<YYYY-MM>_<seq>.csv, municipality <- outbox; the first part tells of the melding.
MELDING_COLUMNS = (
    "melding_id",
    "versie",
    "gemeentecode",
    "maand",
    "klasse",
    "matchregels",
    "rang",
    "voorstel_actie",
    "aantal_signalen",
    "aantal_partners",
    "aantal_sectoren",
    "totaalbedrag",
    "opeenvolgend",
    "gaten_dichten",
    "meerdere_adressen",
    "uiterlijk_aanbod",
)
MELDING_SIGNAL_COLUMNS = (
    "signaalnummer",
    "partner",
    "partnernaam",
    "sector",
    "product",
    "signaaltype",
    "crisissignaal",
    "signaaldatum",
    "ontvangen_op",
    "bedrag",
    "ontstaansdatum",
    "dagen_achterstand",
    "herhaald",
    "warme_overdracht",
    "klantnummer",
    "voorletters",
    "voorvoegsel",
    "achternaam",
    "geboortedatum",
    "straatnaam",
    "huisnummer",
    "huisletter",
    "huisnummertoevoeging",
    "postcode",
    "woonplaats",
    "telefoonnummer",
    "emailadres",
    "datum_einde_levering",
    "terugkoppelen_voor",
    "afronden_voor",
    "gateway_bewaart_tot",
)

#: werklijst_<gemeentecode>_<YYYY-MM>.xlsx, municipality <- outbox: its two sheets, in the order in which people work.
#: Header cells have spaces for `_`, so that they wrap. `inwoners` and `adres` are of the signals together; what was
#: answered before (`laatste_…`) stands beside the columns for a new answer.
LAST_ANSWER_COLUMNS = ("laatste_antwoord", "laatste_datum")
NEW_ANSWER_COLUMNS = (
    "status",
    "eindresultaat",
    "datum",
    "contactsoort",
    "bereikt",
    "toestemming_terugkoppeling",
    "opschorten_tot",
)
WORKLIST_MELDING_COLUMNS = (
    "rang",
    "voorstel_actie",
    "uiterlijk_aanbod",
    "inwoners",
    "adres",
    "postcode",
    "woonplaats",
    "totaalbedrag",
    "aantal_signalen",
    "aantal_partners",
    *LAST_ANSWER_COLUMNS,
    *NEW_ANSWER_COLUMNS,
    "klasse",
    "matchregels",
    "aantal_sectoren",
    "opeenvolgend",
    "gaten_dichten",
    "meerdere_adressen",
    "melding_id",
    "versie",
)
WORKLIST_SIGNAL_COLUMNS = (
    "rang",
    "achternaam",
    "voorvoegsel",
    "voorletters",
    "geboortedatum",
    "straatnaam",
    "huisnummer",
    "huisletter",
    "huisnummertoevoeging",
    "postcode",
    "woonplaats",
    "telefoonnummer",
    "emailadres",
    "voorstel_actie",
    "partnernaam",
    "sector",
    "product",
    "signaaltype",
    "crisissignaal",
    "bedrag",
    "ontstaansdatum",
    "dagen_achterstand",
    "herhaald",
    "warme_overdracht",
    "klantnummer",
    "signaaldatum",
    "ontvangen_op",
    "datum_einde_levering",
    "uiterlijk_aanbod",
    "terugkoppelen_voor",
    "afronden_voor",
    *LAST_ANSWER_COLUMNS,
    *NEW_ANSWER_COLUMNS,
    "signaalnummer",
    "melding_id",
    "partner",
    "gateway_bewaart_tot",
)

#: signaalstatus_<YYYY-MM-DD>_<seq>.csv, creditor <- returns.
STATUS_COLUMNS = ("signaal_id", "klantnummer", "code", "omschrijving", "gemeentecode", "datum")

#: terugkoppeling_<YYYY-MM-DD>_<seq>.csv, creditor <- returns.
FEEDBACK_COLUMNS = (*STATUS_COLUMNS, "opschorten", "opschorten_tot")

#: stand_<YYYY-MM>.csv, creditor <- returns; see gateway.files.statement.
STATEMENT_COLUMNS = (
    *STATUS_COLUMNS,
    "terugkoppeling",
    "terugkoppeling_omschrijving",
    "terugkoppeling_datum",
    "opschorten",
    "opschorten_tot",
)

#: termijnen_<gemeentecode>_<date>.csv, municipality <- outbox; see gateway.files.deadlines.
DEADLINE_COLUMNS = (
    "gemeentecode",
    "melding_id",
    "signaalnummer",
    "klasse",
    "sector",
    "status",
    "datum",
    "terugkoppelen_voor",
    "uiterlijk_aanbod",
    "afronden_voor",
    "eerstvolgende_termijn",
    "eerstvolgende_datum",
    "dagen_over",
    "dagen_te_laat",
)

#: aanleveroverzicht_<gemeentecode>_<YYYY-MM>.csv, municipality <- outbox; see gateway.files.delivery_report.
DELIVERY_REPORT_COLUMNS = (
    "gemeentecode",
    "maand",
    "partner",
    "partnernaam",
    "ontvangen_op",
    "aangenomen",
    "afgekeurd",
    "verwacht_voor",
)

#: Feedback file, municipality -> inbox.
ANSWER_COLUMNS = (
    "signaalnummer",
    "melding_id",
    "status",
    "eindresultaat",
    "datum",
    "contactsoort",
    "bereikt",
    "toestemming_terugkoppeling",
    "opschorten_tot",
)
#: What a feedback row is about: one of these.
ANSWER_REFERENCES = ("signaalnummer", "melding_id")

#: Until when a resident is listed, in a municipality's exclusion file and in its known-residents file.
EXCLUDED_UNTIL = "uitsluiten_tot"
KNOWN_UNTIL = "bekend_tot"
#: Exclusion file and known-residents file, municipality -> inbox; each has its own end date beside these.
LISTING_COLUMNS = (
    "postcode",
    "huisnummer",
    "huisletter",
    "huisnummertoevoeging",
    "achternaam",
    "geboortedatum",
    "reden",
    "mutatie",
)
#: Columns that every row of either needs.
LISTING_NEEDED = ("postcode", "huisnummer")

#: Request file, municipality -> inbox.
REQUEST_COLUMNS = (
    "avg_verzoek",
    "verzoek_id",
    "achternaam",
    "geboortedatum",
    "postcode",
    "huisnummer",
    "huisletter",
    "huisnummertoevoeging",
    "mutatie",
)

#: The columns that tell a municipality's file, the first that it has.
KIND_COLUMNS: Mapping[str, Kind] = {
    "avg_verzoek": Kind.REQUESTS,
    KNOWN_UNTIL: Kind.KNOWN_RESIDENTS,
    EXCLUDED_UNTIL: Kind.EXCLUSIONS,
    "eindresultaat": Kind.FEEDBACK,
    "status": Kind.FEEDBACK,
}

#: ontvangst_<delivery_id>.csv; see gateway.files.receipt.
RECEIPT_COLUMNS = ("soort", "regel", "signaal_id", "kolom", "code", "omschrijving", "gegeven")
