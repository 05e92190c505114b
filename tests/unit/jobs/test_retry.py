import pytest

from api.jobs.retry import LONGEST_S, retry_pause_s


def test_rests_grow_fourfold_up_to_ten_minutes() -> None:
    assert [retry_pause_s(n, 0.0) for n in range(1, 7)] == [5.0, 20.0, 80.0, 320.0, 600.0, 600.0]
    assert retry_pause_s(1_000_000, 0.0) == LONGEST_S


@pytest.mark.parametrize("attempts", [1, 3, 9])
def test_chance_takes_a_quarter_off_at_most(attempts: int) -> None:
    whole = retry_pause_s(attempts, 0.0)
    assert retry_pause_s(attempts, 1.0) == 0.75 * whole
    assert 0.75 * whole < retry_pause_s(attempts, 0.5) < whole
