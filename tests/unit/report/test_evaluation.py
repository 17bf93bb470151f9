from mesems_mri.report.evaluation import YARDSTICKS, format_evaluation


def test_without_products_only_counts_are_shown():
    count = {
        "column": "gel_count",
        "visits_compared": 0,
        "exact": 0,
        "mean_error": None,
        "mean_absolute_error": None,
        "not_evaluable_in_both": 1,
        "missed": ["sub-01/ses-1"],
        "unexpected": [],
    }
    text = format_evaluation(
        {"products": [], "counts": [count], "other_reference": [], "yardsticks": YARDSTICKS}
    )
    assert "gel_count: sub-01/ses-1" in text
    assert "0.00" not in text  # an error that is not defined is not zero
    assert "FROM OTHER DATA" not in text


def test_yardsticks_name_their_product_and_source():
    assert all(yardstick.keys() == {"product", "figure", "source"} for yardstick in YARDSTICKS)
