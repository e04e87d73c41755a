"""Residents whose names stand nowhere else, so that a trace of them is a trace of their file."""

from __future__ import annotations

FILE_NAME = "geheimlijst-zqxjw.csv"
#: column -> what stands in the file
PERSON = {
    "signaal_id": "SIG-ZQXJW-0001",
    "klantnummer": "KLANT7731ZQXJW",
    "product": "ZonneplanZQXJW",
    "voorletters": "Q.Z.X.J.W.",
    "achternaam": "Quispelzwäan-Vörösmarty",
    "geboortedatum": "1957-04-19",
    "straatnaam": "Wonderböomdreef",
    "postcode": "9411ZX",
    "woonplaats": "Zwaanenburghoek",
    "telefoonnummer": "0687654321",
    "emailadres": "q.zwaan@voorbeeld-zqxjw.nl",
}
#: Somebody whom the municipality excludes.
LISTED = {
    "achternaam": "Wolkenbräuer",
    "geboortedatum": "1949-12-30",
    "postcode": "9411ZW",
    "huisnummer": "77",
}
#: What the gateway makes of them: names as they are compared, dates as they are written elsewhere.
DERIVED = ("quispelzwaan", "QUISPELZW", "19570419", "19-04-1957", "+31687654321", "9411 ZX", "wolkenbrauer")
PLANTED = (*PERSON.values(), *list(LISTED.values())[:3], FILE_NAME, *DERIVED)
