"""When two people approved, what for, and what they must be asked: by properties over any approvals."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import month_of
from gateway.domain.approval import (
    Approval,
    ApprovalMode,
    ApprovalState,
    Approver,
    Signature,
    Subject,
    approved_through,
    approvers_digest,
    gave_leave,
    is_approved,
    last_day,
    months_to_ask,
    open_until,
    standing_to_ask,
)
from gateway.files.approval import render_request

NOW = datetime(2027, 4, 17, 2, 30, tzinfo=UTC)
TODAY = NOW.date()
days = st.dates(date(2026, 1, 1), date(2029, 12, 31))
signatures = st.lists(
    st.builds(
        lambda who, key: Signature(principal=who, fingerprint=key, at=NOW, armour=b""),
        st.sampled_from(["archivaris", "controller", "fg"]),
        st.sampled_from(["SHA256:a", "SHA256:b", "SHA256:c"]),
    ),
    max_size=4,
)


def approval(subject: Subject, municipality: str, through: date | None, number: int = 1) -> Approval:
    """One that two people gave."""
    return Approval(
        number=f"G-2027-{number:06}",
        subject=subject,
        object_id="x",
        municipality=municipality,
        detail={},
        through=through,
        text=b"",
        state=ApprovalState.APPROVED,
        asked_at=NOW,
        asked_by="gateway",
        open_until=None,
        ended_at=NOW,
        posted_at=None,
    )


approvals = st.lists(
    st.tuples(
        st.sampled_from([Subject.BATCH, Subject.STANDING]), st.sampled_from(["GM1731", "GM0303"]), days
    ),
    max_size=6,
).map(lambda made: [approval(*each, number) for number, each in enumerate(made, start=1)])


@given(signatures)
def test_two_people_are_two_names_and_two_keys(signed: list[Signature]) -> None:
    """Neither one person with two keys nor one key under two names is enough, however many sign."""
    names, keys = {each.principal for each in signed}, {each.fingerprint for each in signed}
    if len(names) < 2 or len(keys) < 2:
        assert not is_approved(signed)
    pairs = {(each.principal, each.fingerprint) for each in signed}
    assert is_approved(signed) == any(a[0] != b[0] and a[1] != b[1] for a in pairs for b in pairs)


@given(approvals, days)
def test_leave_is_of_its_municipality_and_kind_only(given_: list[Approval], today: date) -> None:
    """A mandate waits for nobody; else nothing goes beyond what was approved of this municipality, in this way."""
    assert approved_through(ApprovalMode.MANDATE, given_, "GM1731", today) is None
    for mode, subject in (
        (ApprovalMode.PER_BATCH, Subject.BATCH),
        (ApprovalMode.STANDING, Subject.STANDING),
    ):
        own = [each.through for each in given_ if (each.subject, each.municipality) == (subject, "GM1731")]
        through = approved_through(mode, given_, "GM1731", today)
        if mode is ApprovalMode.STANDING and any(last is not None and today <= last for last in own):
            assert through is None
        else:
            assert through == max((last for last in own if last is not None), default=date.min)
        others = [each for each in given_ if each.municipality != "GM1731" or each.subject is not subject]
        assert approved_through(mode, others, "GM1731", today) == date.min


@given(approvals, st.sets(days, max_size=5))
def test_a_certificate_names_what_covers_its_days(given_: list[Approval], due: set[date]) -> None:
    """Each day that any approval covers is covered by one that is named, and none is named for nothing."""
    named = gave_leave(ApprovalMode.PER_BATCH, given_, "GM1731", due)
    own = [each for each in given_ if (each.subject, each.municipality) == (Subject.BATCH, "GM1731")]
    reach = max((each.through for each in own if each.through), default=date.min)
    assert all(any(each.through and each.through >= day for each in named) for day in due if day <= reach)
    assert len(named) <= len([day for day in due if day <= reach])
    assert gave_leave(ApprovalMode.MANDATE, given_, "GM1731", due) == []
    assert all(each in own for each in named)


@given(days, days, st.integers(1, 62))
def test_every_month_is_asked_in_time_and_none_twice(through: date, today: date, notice: int) -> None:
    """The months up to the last day of the notice that are not approved to their end, one after another."""
    months = months_to_ask(through, today, notice)
    horizon = month_of(today + timedelta(days=notice))
    assert all(month_of(today) <= month <= horizon and last_day(month) > through for month in months)
    assert all(month_of(last_day(one) + timedelta(days=1)) == two for one, two in pairwise(months))
    assert (horizon in months) == (through < last_day(horizon))


@pytest.mark.parametrize(
    ("through", "mandate", "until"),
    [
        (date.min, None, date(2028, 4, 17)),
        (date(2027, 5, 1), None, date(2028, 5, 1)),
        (date(2027, 5, 2), None, None),
        (date.min, date(2027, 12, 31), date(2027, 12, 31)),
        (date.min, date(2027, 4, 16), date(2028, 4, 17)),
        (date(2027, 4, 30), date(2027, 4, 30), None),
    ],
)
def test_a_standing_approval_is_asked_before_the_last_one_ends(
    through: date, mandate: date | None, until: date | None
) -> None:
    """For a year, within the mandate while that holds; not while two weeks are left."""
    assert standing_to_ask(through, TODAY, 14, mandate) == until


def test_how_long_something_can_be_signed() -> None:
    """What is asked for an occasion for 30 days; leave to destroy as long as it has sense."""
    assert open_until(Subject.HOLD, TODAY, None) == TODAY + timedelta(days=30)
    assert open_until(Subject.KEY, TODAY, None) == TODAY + timedelta(days=30)
    assert open_until(Subject.STANDING, TODAY, date(2028, 1, 1)) == date(2028, 1, 1)
    assert open_until(Subject.BATCH, TODAY, date(2027, 5, 31)) is None
    assert open_until(Subject.CLOCK, TODAY, None) is None


def test_the_log_tells_other_approvers_apart() -> None:
    """Not by order, not by name: by their keys."""
    one, two, three = (
        Approver(principal=name, public_key="", fingerprint=key)
        for name, key in (("a", "SHA256:1"), ("b", "SHA256:2"), ("a", "SHA256:3"))
    )
    assert approvers_digest([one, two]) == approvers_digest([two, one])
    assert len({approvers_digest(each) for each in ([], [one], [one, two], [two, three])}) == 4


def test_the_text_says_what_will_happen() -> None:
    """Byte for byte: who signs it must see the same in five years."""
    text = render_request(
        number="G-2027-000001",
        mark="0123456789abcdef",
        subject=Subject.BATCH,
        detail={"municipality": "GM1900", "name": "Súdwest-Fryslân", "through": "2027-05-31", "signals": 2},
        asked_at=NOW,
    ).decode()
    assert text.splitlines()[:11] == [
        "VERZOEK OM GOEDKEURING",
        "",
        "Nummer:                   G-2027-000001",
        "Merk:                     0123456789abcdef",
        "Onderwerp:                vernietiging van wat vervalt (vernietiging)",
        "Gevraagd op:              2027-04-17 04:30:00",
        "Gemeente:                 GM1900",
        "Naam:                     Súdwest-Fryslân",
        "Vervallen tot en met:     2027-05-31",
        "Signalen:                 2",
        "",
    ]
    assert text.endswith(
        "    ssh-keygen -Y sign -n retention@gateway -f SLEUTEL goedkeuring_G-2027-000001.txt\n"
    )
    assert max(map(len, text.splitlines())) < 100


@pytest.mark.parametrize(
    "detail", [{"resident": "Bakker"}, {"reference": "a\nNummer: G-2027-000009"}, {"through": "morgen"}]
)
def test_nothing_else_gets_into_the_text(detail: dict[str, str]) -> None:
    """No unknown name, no second line, no day that is none: what is signed can't be made to say more."""
    with pytest.raises(ValueError, match=r"request for approval|isoformat"):
        render_request(
            number="G-2027-000001", mark="0" * 16, subject=Subject.HOLD, detail=detail, asked_at=NOW
        )
