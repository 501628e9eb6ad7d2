"""The mailbox under overload and under every interleaving that a few thousand random ones find."""

from __future__ import annotations

import gc
import random
import threading
import time
import weakref

from depth_completion_ros.node.mailbox import Mailbox

PATIENCE_S = 20.0  # a thread that has not ended by then hangs


class Item:
    """Something that can be told from others and watched as it is let go."""

    def __init__(self, number):
        self.number = number


def joined(*threads):
    for thread in threads:
        thread.join(PATIENCE_S)
    return not any(thread.is_alive() for thread in threads)


def test_the_newest_item_replaces_the_one_that_waits():
    mailbox = Mailbox()
    assert mailbox.put("a") is False
    assert mailbox.put("b") is True
    assert mailbox.put("c") is True
    assert mailbox.take(0) == "c"
    assert mailbox.take(0) is None
    assert mailbox.put("d") is False


def test_falsy_items_are_delivered():
    mailbox = Mailbox()
    mailbox.put(0)
    assert mailbox.put(0) is True
    assert mailbox.take(0) == 0


def test_under_overload_the_consumer_gets_the_newest_and_every_item_is_accounted_for():
    """The producer puts ten times for each time the consumer takes."""
    mailbox, taken, newest_before = Mailbox(), [], []
    latest = 0
    replaced = 0

    def consume():
        while not mailbox.closed:
            before = latest  # put before take began: what is taken must not be older
            if (item := mailbox.take()) is not None:
                newest_before.append(before)
                taken.append(item)
                time.sleep(0.002)

    consumer = threading.Thread(target=consume)
    consumer.start()
    for number in range(1, 1001):
        replaced += mailbox.put(number)
        latest = number
        time.sleep(0.0002)
    deadline = time.monotonic() + PATIENCE_S
    while taken[-1:] != [1000] and time.monotonic() < deadline:
        time.sleep(0.001)
    mailbox.close()
    assert joined(consumer)
    assert replaced + len(taken) == 1000
    assert replaced > len(taken)
    assert taken == sorted(set(taken))
    assert all(item >= before for item, before in zip(taken, newest_before, strict=True))


def test_random_interleavings_end_with_every_item_accounted_for():
    """Puts, takes and the close in threads of their own, with random pauses; the close may come at any time."""
    rng = random.Random(0)
    for _ in range(300):
        mailbox, taken, put, replaced = Mailbox(), [], [], []
        puts = [rng.choice([0, 0, 0, 1e-5, 1e-4]) for _ in range(20)]
        takes = [(rng.choice([None, 0, 1e-5, 1e-3]), rng.choice([0, 0, 1e-4])) for _ in range(40)]
        closed_after = rng.choice([0, 1e-4, 1e-3])

        def produce(mailbox=mailbox, put=put, replaced=replaced, puts=puts):
            for number, pause in enumerate(puts):
                replaced.append(mailbox.put(number))
                put.append(number)
                time.sleep(pause)

        def consume(mailbox=mailbox, taken=taken, takes=takes):
            for timeout, pause in takes:
                item = mailbox.take(timeout)
                if item is not None:
                    taken.append(item)
                elif mailbox.closed:
                    break
                time.sleep(pause)

        threads = [threading.Thread(target=produce), threading.Thread(target=consume)]
        for thread in threads:
            thread.start()
        time.sleep(closed_after)
        mailbox.close()
        assert joined(*threads)
        assert taken == sorted(set(taken))
        assert len(taken) + sum(replaced) <= len(put)
        assert mailbox.take() is None  # closed: never waits


def test_take_returns_none_after_a_timeout():
    assert Mailbox().take(0.001) is None


def test_close_wakes_a_waiting_consumer():
    mailbox, results = Mailbox(), []
    consumer = threading.Thread(target=lambda: results.append(mailbox.take()))
    consumer.start()
    time.sleep(0.01)
    mailbox.close()
    assert joined(consumer)
    assert results == [None]


def test_after_close_nothing_goes_in_and_nothing_comes_out():
    mailbox = Mailbox()
    mailbox.put("before")
    mailbox.close()
    assert mailbox.closed
    assert mailbox.take() is None
    assert mailbox.put("after") is False
    assert mailbox.take() is None
    mailbox.close()


def test_items_are_released():
    """An image is megabytes: neither the slot, nor a taker, nor a closed mailbox keeps one alive."""
    mailbox = Mailbox()
    items = [Item(number) for number in range(4)]
    alive = [weakref.ref(item) for item in items]
    mailbox.put(items[0])
    mailbox.put(items[1])  # replaces 0
    assert mailbox.take(0) is items[1]
    mailbox.put(items[2])
    mailbox.close()
    mailbox.put(items[3])
    del items
    gc.collect()
    assert [item() for item in alive] == [None] * 4
