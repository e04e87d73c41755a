"""What an examination finds: a verdict on one subject, in words, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is."""

    #: as it should be
    OK = "ok"
    #: it works, and somebody should look
    WARN = "warn"
    #: something does not work, or a promise is not kept
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; `remedy` is empty where nothing is to be done."""

    verdict: Verdict
    subject: str
    what: str
    remedy: str = ""


def ok(subject: str, what: str) -> Finding:
    """It is as it should be."""
    return Finding(verdict=Verdict.OK, subject=subject, what=what)


def warn(subject: str, what: str, remedy: str) -> Finding:
    """Somebody should look."""
    return Finding(verdict=Verdict.WARN, subject=subject, what=what, remedy=remedy)


def fail(subject: str, what: str, remedy: str) -> Finding:
    """Something does not work, or a promise is not kept."""
    return Finding(verdict=Verdict.FAIL, subject=subject, what=what, remedy=remedy)
