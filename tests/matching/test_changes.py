"""The life of a `signaal_id`."""

from __future__ import annotations

from datetime import date

import pytest

from gateway.domain.signal import Mutation, SignalState
from gateway.matching import changes
from gateway.matching.changes import Claim, Outcome

N, W, I = Mutation.NEW, Mutation.CHANGE, Mutation.WITHDRAW  # noqa: E741
IN_FORCE = [state for state in SignalState if state not in changes.ENDED]
PASSED = [SignalState.WAITING, SignalState.PASSED_ON]


def decide(
    mutation: Mutation,
    state: SignalState | None,
    *,
    same: bool = False,
    auto: bool = False,
    again: bool = False,
) -> Outcome:
    """The outcome of one row."""
    return changes.decide(mutation, state, same_content=same, is_auto=auto, already_new=again)


def test_an_unknown_id_begins() -> None:
    """An N on an id that is unknown or purged is a new signal."""
    assert decide(N, None) is Outcome.NEW


@pytest.mark.parametrize("state", IN_FORCE)
def test_w_and_i_act_on_what_is_in_force(state: SignalState) -> None:
    """Also excluded, not routable and not connected signals can be changed and withdrawn."""
    assert decide(W, state) is Outcome.CHANGE
    assert decide(I, state) is Outcome.WITHDRAW


@pytest.mark.parametrize("state", [None, SignalState.WITHDRAWN, SignalState.SUPERSEDED])
@pytest.mark.parametrize("auto", [True, False])
def test_v14(state: SignalState | None, auto: bool) -> None:
    """W or I on an unknown, withdrawn, superseded or purged id is V14, also for an automatic one."""
    assert decide(W, state, auto=auto).code == "V14"
    assert decide(I, state, auto=auto).code == "V14"


@pytest.mark.parametrize("state", [*PASSED, SignalState.EXCLUDED])
@pytest.mark.parametrize("auto", [True, False])
def test_d50(state: SignalState, auto: bool) -> None:
    """The same N again changes nothing; of an excluded signal too."""
    assert decide(N, state, same=True, auto=auto).code == "D50"


@pytest.mark.parametrize("state", [SignalState.NOT_ROUTABLE, SignalState.NOT_CONNECTED])
def test_the_same_n_tries_routing_again(state: SignalState) -> None:
    """The same N acts as W on a signal that was never routed."""
    assert decide(N, state, same=True) is Outcome.CHANGE


@pytest.mark.parametrize("state", IN_FORCE)
def test_v09_with_other_content(state: SignalState) -> None:
    """An N with other content on an id that is in force is V09."""
    assert decide(N, state).code == "V09"


@pytest.mark.parametrize("state", [SignalState.WITHDRAWN, SignalState.SUPERSEDED])
@pytest.mark.parametrize("same", [True, False])
def test_v09_after_the_end(state: SignalState, same: bool) -> None:
    """A withdrawn or superseded id can't be used again, whatever the content."""
    assert decide(N, state, same=same).code == "V09"


@pytest.mark.parametrize("state", IN_FORCE)
def test_an_automatic_id_changes(state: SignalState) -> None:
    """With other content an N on an automatic id acts as W."""
    assert decide(N, state, auto=True) is Outcome.CHANGE


@pytest.mark.parametrize("same", [True, False])
def test_an_automatic_id_begins_again_after_i(same: bool) -> None:
    """After an I an N on an automatic id is a new signal; after being superseded it is V09."""
    assert decide(N, SignalState.WITHDRAWN, same=same, auto=True) is Outcome.NEW
    assert decide(N, SignalState.SUPERSEDED, same=same, auto=True).code == "V09"


@pytest.mark.parametrize("state", [None, *SignalState])
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("auto", [True, False])
def test_v13_comes_first(state: SignalState | None, same: bool, auto: bool) -> None:
    """A second N of an id in one file is V13 whatever its content and whatever happened to the first."""
    assert decide(N, state, same=same, auto=auto, again=True).code == "V13"


def test_v13_is_only_for_n() -> None:
    """A W or I below the N of its id in the same file applies."""
    assert decide(W, SignalState.WAITING, again=True) is Outcome.CHANGE
    assert decide(I, SignalState.WAITING, again=True) is Outcome.WITHDRAW


def test_what_is_rejected() -> None:
    """V codes are rejections; an unchanged row is a duplicate; only rows without a code change something."""
    assert {o for o in Outcome if o.is_rejected} == {Outcome.USED, Outcome.TWICE, Outcome.UNKNOWN}
    assert {o for o in Outcome if not o.code} == {Outcome.NEW, Outcome.CHANGE, Outcome.WITHDRAW}


def test_signalled_on() -> None:
    """An empty signaaldatum keeps the replaced one, else it is the day of receipt."""
    stated, replaced, received = date(2026, 11, 1), date(2026, 10, 1), date(2026, 11, 5)
    assert changes.signalled_on(stated, replaced=replaced, received_on=received) == stated
    assert changes.signalled_on(None, replaced=replaced, received_on=received) == replaced
    assert changes.signalled_on(None, replaced=None, received_on=received) == received


def test_superseded() -> None:
    """Only the same contract, type, front door and month under another id is superseded."""
    newer = Claim("w2", "contract", "VROEGSIGNAAL", "door", "2026-11")
    older = newer._replace(signal_id="w1")
    others = [
        newer,
        older._replace(contract="other"),
        older._replace(signal_type="EINDELEVERING"),
        older._replace(address="other"),
        older._replace(month="2026-10"),
    ]
    assert changes.superseded(newer, [*others, older]) == [older]
    assert changes.superseded(newer, others) == []


def test_several_are_superseded() -> None:
    """What a W made equal stays side by side until a later N ends them both."""
    newer = Claim("w3", "contract", "VROEGSIGNAAL", "door", "2026-11")
    older = [newer._replace(signal_id="w1"), newer._replace(signal_id="w2")]
    assert changes.superseded(newer, older) == older
