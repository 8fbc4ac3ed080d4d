import os
import signal
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_control_c_in_a_callback_of_a_weak_reference_is_lost_without_notes():
    stopped_in_a_weak_reference()  # if this raises one day, `interrupts_noted` can go


def test_control_c_in_a_callback_of_a_weak_reference_is_raised_at_the_next_question():
    with pytest.raises(KeyboardInterrupt), interrupts_noted() as raise_noted:
        raise_noted()
        stopped_in_a_weak_reference()
        raise_noted()
        pytest.fail("a noted Ctrl-C was not raised")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_control_c_that_nobody_asked_for_is_raised_at_the_end():
    asked = False
    with pytest.raises(KeyboardInterrupt), interrupts_noted():
        control_c()
        asked = True
    assert asked


def test_a_second_control_c_is_raised_at_once():
    with pytest.raises(KeyboardInterrupt), interrupts_noted():
        control_c()
        control_c()
        pytest.fail("the second Ctrl-C was not raised")


def test_an_error_of_the_block_is_not_replaced():
    with pytest.raises(ValueError, match="of the block"), interrupts_noted():
        control_c()
        raise ValueError("of the block")


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
