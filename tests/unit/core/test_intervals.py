import pytest

from mesems_mri.core.intervals import bootstrap_interval, wilson_interval


def mean(numbers):
    return sum(numbers) / len(numbers)


def test_wilson_matches_published_values():
    # Newcombe, Stat Med 1998;17:857, table I: 81/263, 15/148, 0/20, 1/29
    for successes, trials, lower, upper in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(successes, trials) == pytest.approx((lower, upper), abs=5e-5)


def test_wilson_without_trials_is_undefined():
    assert wilson_interval(0, 0) is None
    assert wilson_interval(5, 5) == pytest.approx((0.5655, 1.0), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_proportion(successes, trials):
    with pytest.raises(ValueError, match=r"successes must lie in 0\.\.trials"):
        wilson_interval(successes, trials)


def test_bootstrap_is_repeatable_and_covers_the_mean():
    units = [0.0, 1.0, 1.0, 0.0, 1.0, 0.5, 0.5, 1.0]
    interval = bootstrap_interval(units, mean)
    assert interval is not None
    assert interval == bootstrap_interval(units, mean)
    assert interval != bootstrap_interval(units, mean, seed=1)
    assert interval[0] < mean(units) < interval[1]


def test_bootstrap_of_one_unit_or_an_undefined_statistic_is_undefined():
    assert bootstrap_interval([1.0], mean) is None
    assert bootstrap_interval([1.0, 2.0], lambda _: None) is None
