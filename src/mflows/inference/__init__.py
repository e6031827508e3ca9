"""Inference: which parameters theta made the observed points?

    log p(theta | x_1 ... x_m) = sum_i log p(x_i | theta) + log p(theta) + const

with the likelihood of a conditional flow, or of a simulator that knows its own. Two samplers,
``nuts`` and ``metropolis``, return a `Posterior` with its diagnostics.
"""

from mflows.inference.chains import Posterior
from mflows.inference.corner_plot import corner
from mflows.inference.diagnostics import Diagnostics, SamplingWarning
from mflows.inference.likelihood import log_likelihood
from mflows.inference.no_u_turn import nuts
from mflows.inference.posterior import LogPosterior, log_posterior
from mflows.inference.random_walk import metropolis
from mflows.inference.supports import support

__all__ = [
    "Diagnostics",
    "LogPosterior",
    "Posterior",
    "SamplingWarning",
    "corner",
    "log_likelihood",
    "log_posterior",
    "metropolis",
    "nuts",
    "support",
]
