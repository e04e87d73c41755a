"""How names and addresses are written before they are compared (spec 3, Keys)."""

from __future__ import annotations

import re

from anyascii import anyascii

#: Words before a surname that say nothing about who somebody is.
PARTICLES = (
    *("van", "de", "der", "den", "ten", "ter", "te", "het", "'t", "'s", "v.d.", "vd", "op", "in", "aan"),
    *("bij", "uit", "von", "zu", "la", "le", "du", "des", "el", "al", "ben", "bin", "da", "di", "dos"),
)

#: Particles at the start, each followed by white space or a hyphen and, further on, by another word.
_LEADING = re.compile(rf"(?:[\s-]*(?:{'|'.join(map(re.escape, PARTICLES))})(?=[\s-]+[^\s-]))+")
_NOT_A_LETTER = re.compile(r"[^a-z]")
_NOT_IN_AN_ADDRESS = re.compile(r"[^A-Z0-9]")


def surname(text: str) -> str:
    """A surname as P1 and AS compare it: `van der Groß` and `GROSS-Vos` are both `gross`.

    Marks and foreign letters become plain ones; leading hyphens and particles are dropped, never the last
    word; then what stands before the first hyphen counts, only its letters a-z. Empty when no letter is left:
    then there is no P1 and no AS. Normalising twice changes nothing.
    """
    plain = (text if text.isascii() else anyascii(text)).lower()
    leading = _LEADING.match(plain)
    name = (plain[leading.end() :] if leading else plain).lstrip("- \t\r\n\v\f")
    return _NOT_A_LETTER.sub("", name.partition("-")[0])


def postcode(text: str) -> str:
    """A postcode in upper case without white space."""
    return "".join(text.split()).upper()


def letter(text: str) -> str:
    """A house letter: upper case, only A-Z and 0-9; empty is a value."""
    return _NOT_IN_AN_ADDRESS.sub("", text.upper()) if text else ""


def addition(text: str) -> str:
    """A house number's addition: upper case, only A-Z and 0-9; empty is a value."""
    return _NOT_IN_AN_ADDRESS.sub("", text.upper()) if text else ""
