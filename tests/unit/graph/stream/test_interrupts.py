import os
import signal
import sys
import threading
import weakref

import pytest

from spixgraph.graph.stream.cluster.interrupts import interrupts_noted


class Anything:
    """Something that can be gone."""


@pytest.fixture(autouse=True)
def ordinary_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def control_c(*_):
    os.kill(os.getpid(), signal.SIGINT)


def stopped_in_a_weak_reference():
    thing = Anything()
    kept = weakref.ref(thing, control_c)
    del thing
    return kept


def test_control_c_in_a_callback_of_a_weak_reference_is_lost_without_notes(monkeypatch):
    """If this fails one day, `interrupts_noted` can go."""
    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: lost.append(error.exc_type))
    stopped_in_a_weak_reference()
    assert lost == [KeyboardInterrupt]


def run_noted(*steps):
    """Take the steps, which get `raise_noted`; return how many were taken, and the error."""
    taken = 0
    try:
        with interrupts_noted() as raise_noted:
            for step in steps:
                step(raise_noted)
                taken += 1
    except (KeyboardInterrupt, ValueError) as error:
        return taken, type(error)
    return taken, None


def ask(raise_noted):
    raise_noted()


def lose(_):
    stopped_in_a_weak_reference()


def fail(_):
    raise ValueError


def test_control_c_in_a_callback_of_a_weak_reference_is_raised_at_the_next_question():
    assert run_noted(ask, lose, ask, fail) == (2, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_control_c_that_nobody_asked_for_is_raised_at_the_end():
    assert run_noted(ask, control_c) == (2, KeyboardInterrupt)


def test_a_second_control_c_is_raised_at_once():
    assert run_noted(control_c, control_c, fail) == (1, KeyboardInterrupt)


def test_an_error_of_the_block_is_not_replaced():
    assert run_noted(control_c, fail) == (1, ValueError)


def test_without_control_c_nothing_is_raised():
    assert run_noted(ask, ask) == (2, None)


def test_handlers_of_others_and_other_threads_are_left_alone():
    def handler(*_):
        raise AssertionError

    signal.signal(signal.SIGINT, handler)
    with interrupts_noted() as raise_noted:
        assert signal.getsignal(signal.SIGINT) is handler
        raise_noted()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = []

    def look():
        with interrupts_noted():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
