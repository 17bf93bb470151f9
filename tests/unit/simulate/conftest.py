"""One small simulated trial for all tests of the simulator."""

from pathlib import Path

import pytest

from mesems_mri.simulate.trial import simulate_trial


@pytest.fixture(scope="session")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One participant, three visits, the second without post-contrast scan."""
    folder = tmp_path_factory.mktemp("simulated") / "tri al ä"
    simulate_trial(folder, participants=1, sites=1, sessions=("w00", "w04", "w12"), seed=3)
    return folder
