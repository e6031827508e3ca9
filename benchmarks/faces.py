"""How long does the truth about images take, how regular is their manifold, how far apart are sets?

    taskset -c 1 python benchmarks/faces.py [--images 1000]

CPU milliseconds per image of faces (n = 2 and 64) and of their features; singular values of the
Jacobian, largest and smallest; how far images of different z are apart, |x - x'| / |z - z'|; and
the Frechet and kernel distance of two sets of images that have one distribution, or not.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.spatial.distance import pdist

from mflows.metrics import frechet_distance, kernel_distance
from mflows.nets import efficientnet_lite0, image_features
from mflows.simulators import ConditionalFaces, Faces

MANIFOLDS = {2: Faces(2), 64: ConditionalFaces(64)}


def latents(n: int, count: int, seed: int = 0):
    """The z of images at theta = 0."""
    manifold = MANIFOLDS[n]
    return manifold.latents(jr.key(seed), jnp.zeros((count, *manifold.prior.shape)))


def milliseconds(of: Callable, count: int) -> float:
    """CPU time of one of so many, compiled before."""
    jax.block_until_ready(of())
    start = time.process_time()
    jax.block_until_ready(of())
    return 1e3 * (time.process_time() - start) / count


def main() -> None:
    """Print what the docstring says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    count = parser.parse_args().images
    network = efficientnet_lite0()
    for n, manifold in MANIFOLDS.items():
        few = latents(n, 32)
        x = manifold.embed(few)
        print(f"n = {n}: image {milliseconds(lambda m=manifold, z=few: m.embed(z), 32):.2g} ms")
        volume = milliseconds(lambda m=manifold, z=few: m.log_volume(z), 32)
        print(f"  log-volume {volume:.3g} ms")
        taken = milliseconds(lambda x=x: image_features(x, network), 32)
        print(f"  features {taken:.3g} ms")
        start = time.process_time()
        found = manifold.unembed(x[:4])
        print(
            f"  z of an image, with a share of the program: {time.process_time() - start:.0f} s / 4"
        )
        print(f"  its error: {jnp.abs(found - few[:4]).max():.1g}")
        jacobian = jax.lax.map(jax.jacfwd(manifold.render), latents(n, 1000 if n == 2 else 60))
        values = np.linalg.svd(np.reshape(jacobian, (len(jacobian), -1, n)), compute_uv=False)
        condition = (values[:, 0] / values[:, -1]).max()
        print(f"  singular values {values.max():.3g} to {values.min():.3g}, worst {condition:.3g}")
        z = latents(n, 1000)
        apart = pdist(np.reshape(manifold.embed(z), (1000, -1))) / pdist(z)
        print(f"  |x - x'| / |z - z'| from {apart.min():.3g}, median {np.median(apart):.3g}")
    sets = {
        f"n = {n}, {name}": image_features(MANIFOLDS[n].embed(latents(n, count, seed)), network)
        for n in MANIFOLDS
        for name, seed in (("first", 1), ("second", 2))
    }
    noisy = MANIFOLDS[64].embed(latents(64, count, 3))
    noisy = jnp.clip(noisy + 0.05 * jr.normal(jr.key(4), noisy.shape), 0, 1)
    sets["n = 64, noise .05"] = image_features(noisy, network)
    for of in (2, 64):
        reference = sets[f"n = {of}, first"]
        for name, features in sets.items():
            frechet = frechet_distance(features, reference)["frechet_distance"]
            kernel = kernel_distance(features, reference)["kernel_distance"]
            print(f"{name} from n = {of}, first: Frechet {frechet:.4g}, kernel {kernel:.2g}")


if __name__ == "__main__":
    main()
