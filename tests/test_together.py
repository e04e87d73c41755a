"""One round for all who wait: nobody waits for company, and nobody is forgotten."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.together import Together


def test_who_is_alone_is_served_at_once():
    """In a round of its own, in its own thread."""
    rounds = []
    together = Together(lambda items: rounds.append((items, threading.current_thread())))
    together.add(1)
    together.add(2)
    assert rounds == [([1], threading.current_thread()), ([2], threading.current_thread())]


def test_who_comes_during_a_round_shares_the_next_one():
    """All of them, once each, in one round."""
    rounds, entered, go_on = [], threading.Event(), threading.Event()

    def do_all(items):
        rounds.append(sorted(items))
        entered.set()
        assert go_on.wait(20)

    together = Together(do_all)
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(together.add, 0)
        assert entered.wait(20)
        others = [threads.submit(together.add, number) for number in range(1, 9)]
        while len(together._waiting) < 8:
            threading.Event().wait(0.001)
        assert not any(each.done() for each in (first, *others)), "served by a round that began before"
        go_on.set()
        for each in (first, *others):
            each.result(20)
    assert rounds == [[0], list(range(1, 9))]


def test_an_error_reaches_everyone_of_its_round_and_nobody_else():
    """The next round is done all the same."""
    together = Together(lambda items: [10 // item for item in items])
    with pytest.raises(ZeroDivisionError):
        together.add(0)
    together.add(1)


def test_many_threads_are_each_served_once():
    """Whatever the order in which they come."""
    seen = []
    together = Together(seen.extend)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(together.add, range(2000), timeout=60))
    assert sorted(seen) == list(range(2000))
