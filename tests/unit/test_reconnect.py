"""When to try again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.reconnect import Policy, delay

attempts = st.integers(1, 10_000)
jitters = st.floats(0, 1, exclude_max=True)


@given(attempts, jitters)
def test_a_delay_has_a_floor_and_a_ceiling(attempt: int, jitter: float) -> None:
    assert 0.25 <= delay(attempt, jitter) <= 30.0


@given(attempts, attempts, jitters)
def test_patience_grows(one: int, other: int, jitter: float) -> None:
    first, second = sorted((one, other))
    assert delay(first, jitter) <= delay(second, jitter)


@given(attempts, jitters, jitters)
def test_jitter_spreads(attempt: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert delay(attempt, low) <= delay(attempt, high)


def test_the_first_tries() -> None:
    assert [delay(n, 0.0) for n in (1, 2, 9)] == [0.25, 0.25, 0.25]
    assert [delay(n, 1.0) for n in (1, 2, 3, 4, 5, 6, 7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@given(attempts, jitters, st.floats(0, 120))
def test_a_wish_is_honoured(attempt: int, jitter: float, wish: float) -> None:
    assert delay(attempt, jitter, wish) == wish


@given(attempts, jitters, st.floats(max_value=-0.001) | st.floats(min_value=120.001) | st.just(float("nan")))
def test_an_absurd_wish_is_not(attempt: int, jitter: float, wish: float) -> None:
    assert delay(attempt, jitter, wish) == delay(attempt, jitter)


def test_a_policy_bounds_every_delay() -> None:
    assert delay(9, 0.9, policy=Policy(longest=0.0)) == 0.0
    assert delay(9, 1.0, policy=Policy(first=4.0, longest=6.0)) == 6.0
    assert delay(1, 0.0, policy=Policy(first=4.0, longest=2.0)) == 1.0
    assert delay(1, 0.0, 5.0, Policy(patience=4.0)) == 0.25
