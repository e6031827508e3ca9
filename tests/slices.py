"""sbi's slice sampler without the hundreds of steps that tune its width.

sbi is imported where it is used: collecting tests is quicker without it.
"""


def start_at_a_good_width(monkeypatch) -> None:
    from sbi.inference.posteriors import mcmc_posterior
    from sbi.samplers.mcmc import SliceSamplerVectorized

    def untuned(*args, **settings) -> SliceSamplerVectorized:
        return SliceSamplerVectorized(*args, **{**settings, "tuning": 1, "init_width": 0.5})

    monkeypatch.setattr(mcmc_posterior, "SliceSamplerVectorized", untuned)
