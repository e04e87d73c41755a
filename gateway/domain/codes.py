"""The codes that partners read, with their Dutch sentences (spec 2)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

#: Why a row was rejected.
ROW_ERRORS: Mapping[str, str] = {
    "V01": "verplicht veld leeg",
    "V02": "postcode ongeldig",
    "V03": "huisnummer ongeldig",
    "V04": "bedrag ongeldig of dubbelzinnig",
    "V05": "datum ongeldig",
    "V06": "sector onbekend",
    "V07": "sector niet toegestaan voor deze partner",
    "V08": "sociaal_incasso is niet J",
    "V09": "signaal_id eerder gebruikt",
    "V10": "te lang of verboden tekens",
    "V11": "datum buiten de toegestane periode",
    "V12": "datum_einde_levering ontbreekt",
    "V13": "signaal_id komt twee keer als nieuw voor in dit bestand; het eerste telt",
    "V14": "wijziging of intrekking van een onbekend, ingetrokken, vervangen of vernietigd signaal_id",
    "V15": "waarde niet toegestaan",
    "V16": "verwijzing onbekend, vernietigd of niet van u",
    "V17": "einddatum ontbreekt of te ver",
    "V18": "melding betreft meer personen: geef signaalnummer",
}

#: What is worth a remark.
WARNINGS: Mapping[str, str] = {
    "W01": "klantnummer lijkt op een BSN",
    "W02": "achterstand is ouder of jonger dan de termijn van de sector",
    "W03": "gemeentecode hoort niet bij de postcode; de postcode beslist",
    "W04": "kolom genegeerd",
}

#: Why a whole file was refused.
FILE_ERRORS: Mapping[str, str] = {
    "F01": "onleesbaar",
    "F02": "verplichte kolom ontbreekt",
    "F03": "verboden kolom",
    "F04": "leeg",
    "F05": "te veel regels",
    "F06": "te groot",
    "F07": "versleuteld, macro's of koppelingen",
    "F08": "eerder ontvangen",
    "F09": "afgebroken",
    "F10": "virus gevonden",
    "F11": "onbekend soort bestand",
}


class StatusCode(StrEnum):
    """The wire's signaalstatus."""

    PASSED_ON = "D10"
    PASSED_ON_AGAIN = "D11"
    NOT_PASSED_ON = "D30"
    NOT_ROUTABLE = "D40"
    NOT_CONNECTED = "D41"
    UNCHANGED = "D50"
    SUPERSEDED = "D51"
    WITHDRAWN = "D52"


STATUS_TEXTS: Mapping[StatusCode, str] = {
    StatusCode.PASSED_ON: "doorgezet aan de gemeente",
    StatusCode.PASSED_ON_AGAIN: "doorgezet aan de gemeente; door u eerder gemeld",
    StatusCode.NOT_PASSED_ON: "niet doorgezet aan de gemeente",
    StatusCode.NOT_ROUTABLE: "niet te routeren",
    StatusCode.NOT_CONNECTED: "gemeente niet aangesloten",
    StatusCode.UNCHANGED: "ongewijzigd opnieuw aangeleverd",
    StatusCode.SUPERSEDED: "vervangen door een nieuwer signaal",
    StatusCode.WITHDRAWN: "ingetrokken",
}
