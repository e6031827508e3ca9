import pytest

from mflows.training.recipes import epochs_for


@pytest.mark.parametrize(
    ("points", "batch_size", "epochs"),
    [
        (75_000, 100, 50),  # the published number
        (20_000, 100, 50),
        (1_617, 100, 626),  # 16 steps an epoch, 313 epochs a phase: 5,008 steps
        (50, 100, 2000),  # the cap
        (1, 100, 2000),
        (1_000, 10, 100),
    ],
)
def test_epochs_for(points, batch_size, epochs):
    assert epochs_for(points, batch_size) == epochs


def test_phases_that_patience_ends_may_take_longer():
    assert epochs_for(20_000, 100, patient=True) == 4 * 50
    assert epochs_for(1, 100, patient=True) == 2000  # the cap
