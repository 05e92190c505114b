from __future__ import annotations

from ui.sessions import Sessions


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_id_stands_for_its_key_until_it_is_ended() -> None:
    sessions = Sessions(60)
    one, other = sessions.begin("key-1"), sessions.begin("key-2")
    assert (sessions.key(one), sessions.key(other)) == ("key-1", "key-2")
    sessions.end(one)
    assert (sessions.key(one), sessions.key(other)) == (None, "key-2")


def test_an_id_that_was_never_given_stands_for_nothing() -> None:
    sessions = Sessions(60)
    sessions.begin("key")
    assert sessions.key("") is None
    assert sessions.key("made-up") is None


def test_a_session_ends_when_nobody_visits_and_lasts_while_somebody_does() -> None:
    clock = Clock()
    sessions = Sessions(60, clock)
    visited, left = sessions.begin("visited"), sessions.begin("left")
    for _ in range(3):
        clock.now += 50
        assert sessions.key(visited) == "visited"
    assert sessions.key(left) is None


def test_ids_cannot_be_guessed_from_one_another() -> None:
    sessions = Sessions(60)
    ids = {sessions.begin("a-key-that-no-chance-writes") for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) >= 43 and "a-key-that-no-chance-writes" not in one for one in ids)


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    sessions = Sessions(60)
    first = sessions.begin("first")
    for _ in range(10_000):
        last = sessions.begin("more")
    assert (sessions.key(first), sessions.key(last)) == (None, "more")
