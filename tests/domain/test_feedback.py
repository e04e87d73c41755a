"""What of an answer its creditor is told, and which answer counts (spec 2, terugkoppeling)."""

from dataclasses import replace
from datetime import date
from itertools import product

import pytest

from gateway.domain.feedback import (
    Answer,
    FeedbackCode,
    FeedbackPolicy,
    HelpAccepted,
    Outcome,
    collapse,
    concerns_one,
    last_told,
    latest,
    news,
)

DAY = date(2026, 11, 10)
HELP = {
    "Hulp geaccepteerd",
    "(Budget)advies en/of quick fix",
    "Vervolghulp en/of verwijzing",
    "Vervolghulp en/of verwijzing financieel",
}
LITERAL = {
    "Niet opgepakt: herhaalde melding": "niet opgepakt: herhaalde melding",
    "Niet opgepakt: onterecht signaal": "niet opgepakt: onterecht signaal",
    "Inwoner is overleden": "inwoner is overleden",
    "Persoon is geen inwoner (meer) in de gemeente": "persoon is geen inwoner (meer) in de gemeente",
    "Niet opgepakt: andere reden": "niet opgepakt: andere reden",
}
TELLABLE = {
    "Inwoner regelt het zelf/hoeft geen hulp vanuit vroegsignalering": "GEEN_HULP",
    "Definitief geen contact kunnen krijgen": "NIET_BEREIKT",
    "Geen reactie na eerder contact": "NIET_BEREIKT",
}


def code(outcome, policy=None, **values):
    """The code that a creditor is told of an outcome; None: nothing."""
    told = collapse(Answer(outcome=Outcome(outcome), on=DAY, **values), policy or FeedbackPolicy())
    return told and told.code.value


def test_there_are_sixteen_end_results_and_all_have_an_answer():
    """Every wording that the wire knows becomes one of the codes, or no line; the rest is AFGEROND."""
    rest = {
        each.value: code(each)
        for each in Outcome
        if each.value not in HELP | LITERAL.keys() | {"Nog niet opgepakt", "Opgepakt"}
    }
    assert set(rest.values()) == {"AFGEROND"}
    assert len(rest) == 8
    assert (code("Nog niet opgepakt"), code("Opgepakt")) == (None, "OPGEPAKT")


@pytest.mark.parametrize(
    ("allowed", "consents", "told"),
    [
        (HelpAccepted.CONSENT, True, "HULP_GEACCEPTEERD"),
        (HelpAccepted.CONSENT, False, "OPGEPAKT"),
        (HelpAccepted.AGREEMENT, False, "HULP_GEACCEPTEERD"),
        (HelpAccepted.AGREEMENT, True, "HULP_GEACCEPTEERD"),
        (HelpAccepted.NEVER, True, "OPGEPAKT"),
        (HelpAccepted.NEVER, False, "OPGEPAKT"),
    ],
)
def test_help_is_told_only_when_it_may_be(allowed, consents, told):
    """For each of the four: what may not be told looks like any that was taken up."""
    policy = FeedbackPolicy(help_accepted=allowed)
    assert {code(outcome, policy, consents=consents) for outcome in HELP} == {told}


def test_suspension_comes_with_help_only():
    """28 days from the answer, or the day that was given; nothing else asks for suspension."""
    helped = Answer(outcome=Outcome.ADVICE, on=DAY, consents=True)
    policy = FeedbackPolicy()
    assert collapse(helped, policy).suspend_until == date(2026, 12, 8)
    until = date(2027, 1, 31)
    assert collapse(replace(helped, suspend_until=until), policy).suspend_until == until
    for outcome in Outcome:
        told = collapse(replace(helped, outcome=outcome, suspend_until=until), policy)
        assert (told and told.suspend_until) == (until if outcome in HELP else None)


def test_why_it_was_not_taken_up():
    """Four reasons are told as they are; of any other only that there is one."""
    for outcome, text in LITERAL.items():
        told = collapse(Answer(outcome=Outcome(outcome), on=DAY), FeedbackPolicy())
        assert (told.code.value, told.text) == ("NIET_OPGEPAKT", text)


def test_what_is_told_only_when_it_is_listed():
    """`tell` opens its own codes and no other."""
    for outcome, told in TELLABLE.items():
        for listed in (FeedbackCode.NO_HELP, FeedbackCode.NOT_REACHED):
            expected = told if listed == told else "AFGEROND"
            assert code(outcome, FeedbackPolicy(tell=(listed,))) == expected


def test_the_latest_counts():
    """The latest day; of one day the last received, by delivery and then by line."""
    answers = [
        Answer(outcome=Outcome.TAKEN_UP, on=DAY, order=(1, 2)),
        Answer(outcome=Outcome.PAID, on=DAY, order=(1, 3)),
        Answer(outcome=Outcome.NOT_YET, on=date(2026, 11, 9), order=(9, 9)),
    ]
    assert latest(answers).outcome is latest(answers[::-1]).outcome is Outcome.PAID
    later = Answer(outcome=Outcome.ADVICE, on=DAY, order=(2, 2))
    assert latest([later, *answers]) is later
    assert latest([]) is None


@pytest.mark.parametrize(
    ("persons", "is_one"),
    [
        ([], True),
        ([(None, None)], True),
        ([(1, 7), (1, 7)], True),
        ([(1, 7), (1, 8)], True),
        ([(1, 7), (2, 7)], False),
        ([(1, 7), (None, 7)], True),
        ([(1, 7), (2, 7), (None, 7)], False),
        ([(1, 7), (None, 8)], False),
        ([(None, 7), (None, 7)], True),
        ([(None, 7), (None, 8)], False),
        ([(None, None), (None, None)], False),
    ],
)
def test_one_person(persons, is_one):
    """One date of birth and surname, or one surname at one address where a date is missing."""
    assert concerns_one(persons) is is_one
    assert concerns_one(persons[::-1]) is is_one


def test_nothing_of_a_resident_but_what_the_policy_opens():
    """Whatever is answered, with every policy: ten sentences are all that a creditor ever reads."""
    policies = [
        FeedbackPolicy(help_accepted=allowed, tell=tell)
        for allowed, tell in product(HelpAccepted, [(), (FeedbackCode.NO_HELP, FeedbackCode.NOT_REACHED)])
    ]
    told = {
        found.text
        for policy, outcome, consents in product(policies, Outcome, (True, False))
        if (found := collapse(Answer(outcome=outcome, on=DAY, consents=consents), policy))
    }
    assert told == {
        "opgepakt",
        "hulp geaccepteerd",
        "afgehandeld, uitkomst wordt niet gedeeld",
        "inwoner regelt het zelf of hoeft geen hulp",
        "inwoner niet bereikt",
        *LITERAL.values(),
    }


# -- news ------------------------------------------------------------------------------------------


def given(outcome, on=DAY, file=1, municipality="GM1731", **values):
    """An answer that came in the `file`-th file."""
    return Answer(outcome=Outcome(outcome), on=on, order=(file, 2), municipality=municipality, **values)


def policy_of(municipality):
    """One municipality tells that help was accepted, the other never does."""
    return FeedbackPolicy(
        help_accepted=HelpAccepted.AGREEMENT if municipality == "GM0303" else HelpAccepted.NEVER
    )


def said(found):
    """Code and day."""
    return found and (found.told.code.value, found.on)


LATER = date(2026, 11, 12)


@pytest.mark.parametrize(
    ("before", "fresh", "told"),
    [
        ([], [given("Opgepakt")], ("OPGEPAKT", DAY)),
        ([], [given("Nog niet opgepakt")], None),
        ([given("Opgepakt")], [given("Opgepakt", LATER, 2)], None),
        ([given("Opgepakt")], [given("Inwoner is overleden", LATER, 2)], ("NIET_OPGEPAKT", LATER)),
        # an earlier day than what counts
        ([given("Inwoner is overleden", LATER)], [given("Opgepakt", file=2)], None),
        # what may be told of an answer is up to who gave it
        ([], [given("Hulp geaccepteerd", municipality="GM0303")], ("HULP_GEACCEPTEERD", DAY)),
        ([given("Hulp geaccepteerd")], [given("Opgepakt", LATER, 2, "GM0303")], None),
    ],
)
def test_news(before, fresh, told):
    """Only what the creditor may know and did not know before."""
    assert said(news(before, fresh, policy_of)) == told


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([], None),
        ([given("Nog niet opgepakt")], None),
        # the same again tells nothing: the first day stands
        ([given("Opgepakt"), given("Opgepakt", LATER, 2)], ("OPGEPAKT", DAY)),
        # nothing takes back what was told
        ([given("Opgepakt"), given("Nog niet opgepakt", LATER, 2)], ("OPGEPAKT", DAY)),
        (
            [given("Opgepakt"), given("Nog niet opgepakt", LATER, 2), given("Opgepakt", LATER, 3)],
            ("OPGEPAKT", LATER),
        ),
        # as they came, not as they are given here
        ([given("Inwoner is overleden", LATER, 2), given("Opgepakt")], ("NIET_OPGEPAKT", LATER)),
        (
            [given("Hulp geaccepteerd", municipality="GM0303"), given("Opgepakt", LATER, 2)],
            ("OPGEPAKT", LATER),
        ),
        # one file is told of as a whole
        ([given("Opgepakt"), given("Nog niet opgepakt", LATER)], None),
    ],
)
def test_what_was_told_last(answers, told):
    """What a creditor read last, whatever came after it."""
    assert said(last_told(answers, policy_of)) == told
