"""Everything runs in float64, and compiled functions are kept between runs."""

from pathlib import Path

import hypothesis
import jax

jax.config.update("jax_enable_x64", True)
jax.config.update(
    "jax_compilation_cache_dir", str(Path(__file__).resolve().parents[1] / ".cache" / "jax")
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_compilation_cache_max_size", -1)

hypothesis.settings.register_profile(
    "mflows", max_examples=25, deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("mflows")
