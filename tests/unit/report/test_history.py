"""Quality beside the site's history: only what came before counts."""

from mesems_mri.report.history import MIN_VISITS, is_earlier, site_history
from tests.unit.report.made import quality_row


def history(days: list[str], values: list[float], **this: object) -> dict[str, object]:
    rows = [
        quality_row(f"sub-{i:02}", acquired=day, snr=value)
        for i, (day, value) in enumerate(zip(days, values, strict=True), 10)
    ]
    own = quality_row("sub-01", acquired="2020-06-01", snr=7.0) | this
    (row,) = [r for r in site_history([own, *rows], "sub-01", "ses-w04") if r.measure == "snr"]
    return {"count": row.count, "unusual": row.unusual, "middle": row.middle}


def test_later_and_same_day_visits_and_other_sites_do_not_count() -> None:
    days = ["2020-05-31", "2020-06-01", "2020-06-02"]
    assert history(days, [5.0, 6.0, 7.0]) == {"count": 1, "unusual": None, "middle": 5.0}
    other = [quality_row("sub-09", acquired="2020-01-01", site_id="S02"), quality_row(acquired="2020-06-01")]
    assert all(row.count == 0 for row in site_history(other, "sub-01", "ses-w04"))


def test_table_that_grew_by_later_visits_changes_nothing() -> None:
    early = [quality_row(f"sub-{i}", acquired=f"2020-01-0{i}", snr=6.0 + i) for i in range(1, 7)]
    own = quality_row("sub-99", acquired="2020-01-08")
    late = [quality_row(f"sub-1{i}", acquired=f"2020-02-0{i}", snr=99.0) for i in range(1, 7)]
    assert site_history([*early, own], "sub-99", "ses-w04") == site_history(
        [*late, *early, own], "sub-99", "ses-w04"
    )


def test_unusual_is_clearly_worse_in_the_measure_s_own_direction() -> None:
    days = [f"2020-01-{i:02}" for i in range(1, MIN_VISITS + 1)]
    values = [6.8, 7.0, 7.2, 7.1, 6.9, 7.0, 7.3, 4.0]
    assert history(days, values)["unusual"] is False
    assert history(days, values, snr=3.0)["unusual"] is True
    assert history(days, values, snr=4.5)["unusual"] is False  # it has been worse
    assert history(days, values, snr=30.0)["unusual"] is False  # better is not unusual
    assert history(days[1:], values[1:], snr=3.0)["unusual"] is None  # too few
    assert history(days, [7.0] * 8, snr=6.9)["unusual"] is True  # no spread at all
    rows = [quality_row(f"sub-{i}", acquired=d, cjv=0.5 + i / 100) for i, d in enumerate(days, 10)]
    for value, expected in ((0.2, False), (0.9, True)):
        own = quality_row("sub-01", acquired="2020-06-01", cjv=value)
        (row,) = [r for r in site_history([own, *rows], "sub-01", "ses-w04") if r.measure == "cjv"]
        assert row.unusual is expected


def test_order_is_by_day_then_week_then_place() -> None:
    dated, week, place = {"acquired": "2020-01-01"}, {"week": 4}, {"position": 0}
    assert is_earlier(quality_row(**dated), quality_row(acquired="2020-01-02"))
    assert not is_earlier(quality_row(**dated, week=24), quality_row(week=4))  # week 24 is not before week 4
    assert is_earlier(quality_row(**week), quality_row(week=12))
    assert not is_earlier(quality_row(**week), quality_row(week=4))
    assert is_earlier(quality_row(**place), quality_row(position=1))
