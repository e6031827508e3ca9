"""The coordinates that training computes in: centred points and conditions of order 1.

Offsets are taken off in double precision, so that what single precision holds is the data's spread.
What trains is ``Flow.own()``, of the flow placed on its data; afterwards it is put back.
"""

from dataclasses import dataclass
from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from paramax import unwrap

from mflows.conditions import Conditions
from mflows.data import Data
from mflows.data.moments import moments
from mflows.flow import Flow
from mflows.layers import outermost


@dataclass(frozen=True)
class Units:
    """Where the data of a training lie.

    Attributes:
        centre: What is taken off the points, in double precision.
        conditions: The placement of the conditions; ``None`` where they are taken as they are.
        origin: The mean of the flow's placement before training.
        distances: What the flow knew of distances before training.
    """

    centre: np.ndarray | float
    conditions: Conditions | None
    origin: np.ndarray | float = 0.0
    distances: Any = None

    @classmethod
    def of(cls, flow: Flow, data: Data, *, centred: bool = True) -> Self:
        """Units for a flow: of the data, for conditions its own where it has been trained before.

        Points stay where they are where they are not to be ``centred``, or the flow's chart does
        not end with a placement.
        """
        conditions, placement = flow.conditions, outermost(flow.chart)
        origin = 0.0 if placement is None else placement.centre
        if conditions is not None and data.condition is not None:
            seen = Conditions.of(data.condition[:])
            conditions = conditions.widened(seen) if conditions.known else seen
        if not centred or placement is None:
            return cls(0.0, conditions, origin, flow.distances)
        points = data.sample(len(data), 0) if data.mapped else data
        return cls(moments(points.x).centre, conditions, origin, flow.distances)

    @classmethod
    def none(cls, flow: Flow) -> Self:
        """Those of the data themselves."""
        placement = outermost(flow.chart)
        origin = 0.0 if placement is None else placement.centre
        return cls(0.0, flow.conditions, origin, flow.distances)

    def taken_off(self, flow: Flow) -> Flow:
        """The flow of these coordinates."""
        placement = outermost(flow.chart)
        own = flow.own()
        return own if placement is None else own.around(placement.centre - self.centre)

    def put_back(self, flow: Flow) -> Flow:
        """The flow of the data's own units."""
        placement = outermost(flow.chart)
        if placement is not None:
            still = placement.moved(self.origin - self.centre).centre  # as `taken_off` left it
            unmoved = np.array_equal(placement.centre, still)
            mean = self.origin if unmoved else placement.centre + self.centre
            flow = flow.around(np.asarray(mean))
        known = self.conditions, self.distances
        none = {"is_leaf": lambda leaf: leaf is None}
        return eqx.tree_at(lambda f: (f.conditions, f.distances), flow, known, **none)

    def fields(self, x: Any, condition: Any, joint_score: Any) -> tuple[Any, Any, Any]:
        """Points, conditions and joint scores in these coordinates, on the device.

        Of a score, d log p / d theta' = scale d log p / d theta. What is ``None`` remains so.
        """
        x = x if np.all(self.centre == 0) else np.asarray(x, dtype=np.float64) - self.centre
        if condition is not None and self.conditions is not None:
            condition = self.conditions.own(condition)
            scale = unwrap(self.conditions.placement.scale)
            joint_score = None if joint_score is None else joint_score * np.asarray(scale)
        x, condition, joint_score = (
            None if array is None else jnp.asarray(array, dtype=float)
            for array in (x, condition, joint_score)
        )
        return x, condition, joint_score
