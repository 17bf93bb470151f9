import pytest

from mesems_mri.core.tally import Agreement, Tally, pool, size_class


@pytest.mark.parametrize(
    ("volume", "name"),
    [
        (13.9, None),
        (14.0, "14-27"),
        (26.99, "14-27"),
        (27.0, "27-70"),
        (70.0, "70-500"),
        (499.9, "70-500"),
        (500.0, ">=500"),
        (1e6, ">=500"),
    ],
)
def test_size_classes_are_half_open(volume, name):
    assert size_class(volume) == name


def test_f1_is_the_harmonic_mean_of_sensitivity_and_precision():
    tally = Tally(truth=10, found=5, detections=4, true_detections=1, matched=1)
    assert (tally.sensitivity, tally.precision) == (0.5, 0.25)
    assert tally.f1 == pytest.approx(1 / 3)
    assert tally.f1_matched == pytest.approx(2 / 14)
    assert (tally.false_detections, tally.count_error) == (3, -6)


def test_pool_of_nothing_has_no_defined_figure():
    empty = pool([])
    assert empty == Agreement()
    overall = empty.overall
    assert (overall.sensitivity, overall.precision, overall.f1, empty.dice, empty.volume_ratio) == (None,) * 5


def test_pool_adds_volumes_before_it_divides():
    visits = [
        Agreement(truth_volume_mm3=100, detection_volume_mm3=50, overlap_mm3=50),
        Agreement(truth_volume_mm3=0, detection_volume_mm3=50, overlap_mm3=0),
    ]
    assert pool(visits).dice == pytest.approx(0.5)
    assert pool(visits).volume_ratio == pytest.approx(1.0)
