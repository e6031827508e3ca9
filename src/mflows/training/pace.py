"""How long a phase lasts, and how its learning rate falls.

Without a tolerance the rate falls over all epochs, and patience may end them early. With one it
stays at its peak until the validation loss has settled, then falls for half as long again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mflows.training.epoch import Loop
from mflows.training.phases import Phase

SETTLED, PATIENT = 300, 5
"""Steps, and epochs, without an improvement beyond the tolerance of a phase."""
FALLING = 0.5
"""How long the rate of a phase with a tolerance falls, in the time that it took to settle."""


@dataclass(frozen=True)
class Pace:
    """The pace of one turn of a phase; epochs after which the loss had settled are ``settled``.

    Args:
        phase: The phase.
        steps: Steps of an epoch.
    """

    phase: Phase
    steps: int

    def kept(self, loop: Loop, settled: int | None) -> Loop:
        """The loop, with the rate that it has before and after the loss has settled."""
        if not self.phase.tolerance:
            return loop
        stay = settled or self._longest
        return loop.falling(stay * self.steps, _falling(stay) * self.steps)

    def epochs(self, settled: int | None) -> int:
        """The last epoch."""
        return settled + _falling(settled) if settled else self.phase.epochs

    def goes_on(self, losses: Sequence[float]) -> bool:
        """Whether patience lasts, after these validation losses."""
        if self.phase.tolerance or self.phase.patience is None:
            return True
        return len(losses) - 1 - losses.index(min(losses)) < self.phase.patience

    def settled(self, losses: Sequence[float]) -> bool:
        """Whether the last epochs have improved the loss by no more than the tolerance."""
        if not self.phase.tolerance:
            return False
        wait = max(-(-SETTLED // self.steps), PATIENT)
        before, last = losses[:-wait], losses[-wait:]
        return bool(before) and min(before) - min(last) <= self.phase.tolerance

    def runs_out(self, losses: Sequence[float]) -> bool:
        """Whether no epochs are left in which the loss could settle before the rate falls."""
        return bool(self.phase.tolerance) and len(losses) >= self._longest

    @property
    def _longest(self) -> int:
        """Epochs after which the rate falls whether or not the loss has settled."""
        return max(int(self.phase.epochs / (1 + FALLING)), 1)


def _falling(settled: int) -> int:
    return max(round(FALLING * settled), 1)
