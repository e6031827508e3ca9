"""Inference: which parameters theta made the observed points?

    log p(theta | x_1 ... x_m) = sum_i log p(x_i | theta) + log p(theta) + const

with the likelihood of a conditional flow, or of a simulator that knows its own. ``simulate`` draws
what a flow is trained on. Two samplers, ``nuts`` and ``metropolis``, return a `Posterior` with its
diagnostics; ``calibrate`` and ``predictive_check`` say whether to believe it.
"""

from typing import TYPE_CHECKING

from mflows.inference.alarms import Misspecified
from mflows.inference.calibration import Calibration, Miscalibrated, calibrate
from mflows.inference.chains import Posterior
from mflows.inference.corner_plot import corner
from mflows.inference.diagnostics import Diagnostics, SamplingWarning
from mflows.inference.likelihood import log_likelihood
from mflows.inference.no_u_turn import nuts
from mflows.inference.posterior import LogPosterior, log_posterior
from mflows.inference.predictive import PredictiveCheck, predictive_check
from mflows.inference.priors import as_prior
from mflows.inference.random_walk import metropolis
from mflows.inference.simulation import simulate
from mflows.inference.supports import support

if TYPE_CHECKING:
    from mflows.inference.sbi import to_sbi

__all__ = [
    "Calibration",
    "Diagnostics",
    "LogPosterior",
    "Miscalibrated",
    "Misspecified",
    "Posterior",
    "PredictiveCheck",
    "SamplingWarning",
    "as_prior",
    "calibrate",
    "corner",
    "log_likelihood",
    "log_posterior",
    "metropolis",
    "nuts",
    "predictive_check",
    "simulate",
    "support",
    "to_sbi",
]


def __getattr__(name: str):
    if name != "to_sbi":
        raise AttributeError(f"module 'mflows.inference' has no attribute {name!r}")
    try:
        from mflows.inference.sbi import to_sbi  # and torch: slow to import, and an extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Expected sbi and torch for to_sbi. Install them: pip install 'mflows[sbi]'.",
            name=error.name,
        ) from error
    return to_sbi
