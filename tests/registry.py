"""Every chart, layer, volume and flow once: name -> constructor.

Invariants run over all entries. None of them is trivial: weights are disturbed, scalings and
rotations are not the identity, and permutations are not their own inverses. A new public class or
builder belongs here; ``tests/test_registry.py`` fails until it is.
"""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import flowjax.bijections
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.bijections import (
    AbstractBijection,
    Affine,
    Chain,
    Concatenate,
    Coupling,
    Identity,
    Invert,
    Permute,
    Sandwich,
    Scan,
    TriangularAffine,
)
from flowjax.distributions import StandardNormal, Transformed
from paramax import NonTrainable

import mflows as mf
from mflows.charts import (
    BijectionChart,
    Chart,
    Circle,
    CircularSpline,
    Dilation,
    Encoded,
    FunctionChart,
    Generator,
    HasLogVolume,
    Inversion,
    Pad,
    Placement,
    Product,
    RationalQuadraticSpline,
    Sphere,
    Torus,
    circular_spline_stack,
    conformal_stack,
    is_conformal,
    multiscale_stack,
    patch_stack,
    place,
    placements_of,
    shaped,
    sphere_spline_stack,
    spline_coupling,
    spline_stack,
)
from mflows.layers.affine import BoundedAffine
from mflows.nets import SkipMLP
from mflows.volume import (
    Auto,
    ClosedForm,
    Complement,
    Conformal,
    ConjugateGradient,
    Determinant,
    Exact,
    Hadamard,
    Intractable,
    Lanczos,
    PartByPart,
    Surrogate,
    Volume,
)

T = TypeVar("T")

SMALL = {"width": 8, "bins": 4, "interval": 4.0}
"""Splines and networks small enough to compile quickly."""


def key(seed: int) -> jax.Array:
    """A key of a generator that compiles in no time."""
    return jr.key(seed, impl="unsafe_rbg")


def disturbed(tree: T, scale: float = 0.2, seed: int = 0) -> T:
    """Add normal noise to everything that trains."""

    def is_frozen(leaf):
        return isinstance(leaf, NonTrainable)

    leaves, structure = jax.tree.flatten(tree, is_leaf=is_frozen)
    rng = np.random.default_rng(seed)
    leaves = [
        jnp.asarray(np.asarray(leaf) + scale * rng.normal(size=leaf.shape), leaf.dtype)
        if eqx.is_inexact_array(leaf)
        else leaf
        for leaf in leaves
    ]
    return jax.tree.unflatten(structure, leaves)


def placement(
    shape: int | tuple[int, ...], seed: int = 0, *, plane_dim: int | None = None
) -> Placement:
    """A placement that shifts, scales axes differently and turns ``plane_dim`` of them, or all."""
    rng, dim = np.random.default_rng(seed), int(np.prod(shape))
    columns = np.linalg.qr(rng.normal(size=(dim, dim)))[0][:, :plane_dim]
    return Placement(rng.normal(size=shape), np.exp(0.3 * rng.normal(size=shape)), columns.T)


def turn_of(placement: Placement) -> np.ndarray:
    """The orthogonal matrix Q of a placement."""
    vectors, factor = map(np.asarray, placement.reflections.tree)
    return np.eye(len(vectors)) - vectors @ factor @ vectors.T


def furnished(flow: mf.Flow, scale: float = 0.2, seed: int = 0) -> mf.Flow:
    """A flow as it could be after training: disturbed weights, placed on data."""
    flow = disturbed(flow, scale, seed)
    plane_dim = placements_of(flow.chart)[0].plane_dim
    chart = place(flow.chart, placement(flow.shape, seed, plane_dim=plane_dim))
    return eqx.tree_at(lambda f: f.chart, flow, chart)


# Layers ----------------------------------------------------------------------------------------


def coupling(
    transformer: AbstractBijection, dim: int = 3, cond_dim: int | None = None, depth: int = 1
) -> Coupling:
    """FlowJAX's own coupling layer, with an ``eqx.nn.MLP`` as conditioner."""
    layer = Coupling(
        key(3),
        transformer=transformer,
        untransformed_dim=dim // 2,
        dim=dim,
        cond_dim=cond_dim,
        nn_width=8,
        nn_depth=depth,
        nn_activation=jax.nn.tanh,
    )
    return disturbed(layer)


def spline() -> flowjax.bijections.RationalQuadraticSpline:
    return flowjax.bijections.RationalQuadraticSpline(knots=3, interval=4.0)


def residual(dim: int = 3, cond_dim: int | None = None) -> Coupling:
    """Our coupling layer, with a ``ResidualMLP`` as conditioner."""
    return disturbed(spline_coupling(key(4), dim, cond_dim=cond_dim, **SMALL))


def turned(dim: int) -> Permute:
    """A cyclic shift: a permutation that is not its own inverse."""
    return Permute(jnp.roll(jnp.arange(dim), 1))


def stack(dim: int, cond_dim: int | None = None, linear: bool = False) -> AbstractBijection:
    settings = {"layers": 4, "linear": linear, **SMALL}
    return disturbed(spline_stack(key(5), dim, cond_dim=cond_dim, **settings))


def affine_couplings(dim: int) -> Chain:
    """The layers that compile soonest, and bend all coordinates."""
    return Chain(2 * [coupling(Affine(), dim), turned(dim)])


def scanned(cond_dim: int | None = None) -> Scan:
    """FlowJAX's own coupling layers with non-involutive permutations, scanned."""

    def layer(layer_key):
        layer = Coupling(
            layer_key,
            transformer=Affine(),
            untransformed_dim=1,
            dim=3,
            cond_dim=cond_dim,
            nn_width=8,
            nn_depth=1,
        )
        return Chain([layer, turned(3)])

    return disturbed(Scan(eqx.filter_vmap(layer)(jr.split(key(6), 3))))


CIRCULAR = {"layers": 3, "width": 8, "bins": 4}


def circular(dim: int, cond_dim: int | None = None) -> AbstractBijection:
    return disturbed(circular_spline_stack(key(9), dim, cond_dim=cond_dim, **CIRCULAR), 0.5)


def spherical(dim: int, cond_dim: int | None = None) -> AbstractBijection:
    return disturbed(sphere_spline_stack(key(10), dim, cond_dim=cond_dim, **CIRCULAR), 0.5)


def conformal(dim: int) -> AbstractBijection:
    settings = {"layers": 2, "reflections": 1, "reach": 6.0}
    return disturbed(conformal_stack(key(12), dim, **settings), 0.1)


CONVOLUTIONAL = {"network": "convolutional", "chart_layers": 1, "channels": 4}
TRANSFORMER = {"network": "transformer", "chart_layers": 1}
IMAGE = (2, 3, 1)
"""Shape of points that are no vectors."""


def image_layers() -> AbstractBijection:
    return shaped(Chain([coupling(Affine(), 6), turned(6)]), IMAGE)


LAYERS: dict[str, Callable[[], AbstractBijection]] = {
    "placement": lambda: placement(3),
    "placement on a plane": lambda: placement(5, plane_dim=2),
    "placement without a plane": lambda: placement(3, plane_dim=0),
    "permutation": lambda: turned(3),
    "lu": lambda: disturbed(TriangularAffine(jnp.zeros(3), jnp.eye(3))),
    "coupling of affines": lambda: coupling(Affine()),
    "coupling of affines, deep, conditional": lambda: coupling(Affine(), cond_dim=2, depth=2),
    "coupling of splines, conditional": lambda: coupling(spline(), cond_dim=2),
    "coupling of bounded affines": lambda: coupling(BoundedAffine()),
    "coupling of our splines": lambda: coupling(RationalQuadraticSpline(4, 4.0)),
    "residual coupling": lambda: residual(),
    "residual coupling, conditional": lambda: residual(5, cond_dim=2),
    "spline of one coordinate, conditional": lambda: residual(1, cond_dim=2),
    "coupling of circular splines": lambda: coupling(CircularSpline(4)),
    "circular splines of three angles, conditional": lambda: circular(3, cond_dim=2),
    "sphere splines in four dimensions, conditional": lambda: spherical(4, cond_dim=2),
    "conformal maps": lambda: conformal(3),
    "dilation": lambda: Dilation(jnp.asarray(0.3), jnp.asarray([1.0, -2, 0.5])),
    "inversion": lambda: Inversion(jnp.asarray([4.0, 0, 3])),
    "scan": lambda: scanned(),
    "scan, conditional": lambda: scanned(cond_dim=2),
    "multi-scale couplings of images": lambda: disturbed(
        multiscale_stack(key(13), (6, 8, 1), cond_dim=2, layers=2, width=4), 0.1
    ),
    "couplings of patches": lambda: disturbed(
        patch_stack(key(13), (4, 6, 1), cond_dim=2, width=8), 0.1
    ),
    "placement of images": lambda: placement(IMAGE, plane_dim=2),
    "reshaped couplings": image_layers,
    "chain": lambda: Chain([coupling(Affine()), turned(3), coupling(Affine())]),
    "pieces": lambda: Concatenate([coupling(Affine()), Identity((2,))]),
    "sandwich": lambda: Sandwich(coupling(Affine()), turned(3)),
    "inverted coupling": lambda: Invert(coupling(Affine())),
    "inverted permutation": lambda: Invert(turned(5)),
    "inverted chain, conditional": lambda: Invert(
        Chain([coupling(Affine(), cond_dim=2), turned(3)])
    ),
}


# Charts ----------------------------------------------------------------------------------------

CHARTS: dict[str, Callable[[], Chart]] = {
    "pad": lambda: Pad(2, 5),
    "line in a plane": lambda: Pad(1, 2).then(placement(2)),
    "plane in four dimensions": lambda: Pad(2, 4).then(placement(4, plane_dim=2)),
    "affine, n = D": lambda: BijectionChart(placement(3)),
    "affine couplings of space": lambda: BijectionChart(scanned()).then(placement(3)),
    "curve in space": lambda: Pad(1, 3).then(scanned()).then(placement(3, plane_dim=1)),
    "conditional spline surface": lambda: Pad(2, 3).then(stack(3, cond_dim=2)).then(placement(3)),
    "LU splines in five dimensions": lambda: Pad(3, 5).then(stack(5, linear=True)),
    "affine couplings": lambda: Pad(2, 3).then(scanned()).then(placement(3)),
    "affine couplings, conditional": lambda: Pad(2, 3).then(scanned(2)).then(placement(3)),
    "conformal surface": lambda: Pad(2, 4).then(conformal(4)),
    "surface of images": lambda: Pad(2, IMAGE).then(image_layers()).then(placement(IMAGE)),
    "conformal surface of images": lambda: Pad(2, (2, 2)).then(shaped(conformal(4), (2, 2))),
    "images, n = D": lambda: BijectionChart(image_layers()).then(placement(IMAGE)),
    "circle": Circle,
    "torus": lambda: Torus(3),
    "sphere": lambda: Sphere(2),
    "three-sphere": lambda: Sphere(3),
    "ellipsoid": lambda: Sphere(2).then(placement(3)),
    "product": lambda: Product(Sphere(2), Circle(), CHARTS["curve in space"]()),
    "parabola": lambda: FunctionChart(
        lambda u: jnp.append(u, u**2), lambda x: x[:1], shape=(2,), latent_dim=1
    ),
    "conditional parabola": lambda: FunctionChart(
        lambda u, theta: jnp.append(u, theta[0] * u**2),
        lambda x, theta: x[:1],
        shape=(2,),
        latent_dim=1,
        cond_shape=(2,),
    ),
}


def autoencoder(cond_dim: int | None = None) -> Chart:
    """Free networks far from the plane they start at."""
    given = {"cond_size": cond_dim, "width": 8, "blocks": 1}
    generator = Generator(SkipMLP(key(10), 2, 3, **given))
    return disturbed(Encoded(generator, SkipMLP(key(11), 3, 2, **given)).then(placement(3)))


FREE_CHARTS: dict[str, Callable[[], Chart]] = {
    "autoencoder, conditional": lambda: autoencoder(cond_dim=2),
    "affine couplings with an encoder": lambda: Encoded(
        Pad(2, 3).then(scanned()), SkipMLP(key(11), 3, 2, width=8)
    ).then(placement(3)),
    "autoencoder of images": lambda: pae(2, IMAGE).chart,
    "generator with noise and Gaussian encoder": lambda: vae(2, 3).chart,
    "inverted generator": lambda: gan(2, 3).chart,
}
"""Charts whose encoder is not the decoder's inverse: only training brings it near."""

POLAR = {"sphere": 1, "three-sphere": 2, "ellipsoid": 1, "product": 1}
"""How many of the first coordinates are polar angles, from 0 to pi."""


def coordinates(name: str, count: int, seed: int = 1) -> np.ndarray:
    """Coordinates for the chart of that name: normal draws, or polar angles."""
    u = np.random.default_rng(seed).normal(size=(count, (CHARTS | FREE_CHARTS)[name]().latent_dim))
    polar = np.arange(u.shape[1]) < POLAR.get(name, 0)
    return np.where(polar, np.pi / (1 + np.exp(-u)), u)


# Volumes ---------------------------------------------------------------------------------------

VOLUMES: dict[str, Callable[[], Volume]] = {
    "auto": Auto,
    "closed form": ClosedForm,
    "complement": Complement,
    "conformal": Conformal,
    "conjugate gradient": ConjugateGradient,
    "determinant": Determinant,
    "exact": Exact,
    "exact, in chunks": lambda: Exact(chunk=2),
    "hadamard": Hadamard,
    "lanczos": Lanczos,
    "surrogate": Surrogate,
    "intractable": lambda: Intractable("No density."),
    "part by part": lambda: PartByPart(Exact()),
}


def serves(volume: Volume, chart: Chart) -> bool:
    """Whether a volume is meant for a chart."""
    whole = isinstance(chart, BijectionChart)
    padded = not whole and isinstance(getattr(chart, "inner", None), Pad)
    served = {
        Conformal: padded and is_conformal(chart.bijection),
        **dict.fromkeys((ConjugateGradient, Hadamard, Lanczos, Surrogate), False),  # estimates
        ClosedForm: isinstance(chart, HasLogVolume),
        Complement: padded,
        Determinant: whole,
        Intractable: False,
        PartByPart: isinstance(chart, Product),
    }
    return served.get(type(volume), True)


# Flows -----------------------------------------------------------------------------------------


def m_flow(n: int, shape: int | tuple[int, ...], **settings) -> mf.Flow:
    settings = {"chart_layers": 4, "latent_layers": 2, **SMALL, **settings}
    shape = (shape,) if isinstance(shape, int) else shape
    flow = furnished(mf.models.m_flow(key(7), shape, n, **settings))
    latent = place(flow.latent, placement(n, seed=1, plane_dim=0))
    return eqx.tree_at(lambda f: f.latent, flow, latent)


def me_flow(n: int, dim: int) -> mf.Flow:
    settings = {"chart_layers": 2, "latent_layers": 1, "encoder_width": 8, **SMALL}
    return furnished(mf.models.me_flow(key(7), (dim,), n, **settings))


def pae(n: int, shape: tuple[int, ...] = (2,), **settings) -> mf.Flow:
    settings = {"latent_layers": 1, **SMALL, **settings}
    return furnished(mf.models.pae(key(9), shape, n, **settings))


def ripf(n: int, dim: int) -> mf.Flow:
    return furnished(mf.models.ripf(key(9), (dim,), n, latent_layers=1, **SMALL))


def vae(n: int, dim: int) -> mf.Flow:
    return furnished(mf.models.vae(key(9), (dim,), n, width=8, blocks=1))


def gan(n: int, dim: int) -> mf.Flow:
    return furnished(mf.models.gan(key(9), (dim,), n, width=8, blocks=1, starts=16))


def pie(n: int, dim: int, **settings) -> mf.Flow:
    settings = {"chart_layers": 2, "latent_layers": 1, "noise": 0.5, **SMALL, **settings}
    return furnished(mf.models.pie(key(9), (dim,), n, **settings))


def ambient_flow(dim: int, **settings) -> mf.Flow:
    settings = {"layers": 3, **SMALL, **settings}
    return furnished(mf.models.ambient_flow(key(8), (dim,), **settings))


def fom(dim: int, manifold: str, **settings) -> mf.Flow:
    flow = mf.models.fom(key(11), (dim,), manifold=manifold, **{**CIRCULAR, **settings})
    return disturbed(flow, 0.2)


def posterior_flow(likelihood: mf.Flow, **settings) -> mf.Flow:
    settings = {"layers": 2, **SMALL, **settings}
    return disturbed(mf.models.posterior_flow(key(12), likelihood, **settings))


def linear_flow() -> mf.Flow:
    return mf.Flow(CHARTS["plane in four dimensions"](), StandardNormal((2,)))


def nested_flow() -> mf.Flow:
    """A curve within a surface: a flow is the latent density of another."""
    inner = mf.Flow(BijectionChart(placement(2, seed=2)), StandardNormal((2,)))
    return mf.Flow(Pad(2, 3).then(scanned()).then(placement(3)), inner)


def affine_flow() -> mf.Flow:
    """Chart and latent density depend on theta; quick to compile."""
    layers = Chain([coupling(Affine(), dim=2, cond_dim=2), placement(2, seed=1)])
    latent = Transformed(StandardNormal((2,)), layers)
    return mf.Flow(CHARTS["affine couplings, conditional"](), latent)


FLOWS: dict[str, Callable[[], mf.Flow]] = {
    "ambient flow of a plane": lambda: ambient_flow(2),
    "curve": lambda: m_flow(1, 2),
    "curve that bends in three of five directions": lambda: m_flow(1, 5, rank=3),
    "curve of images, by convolutions": lambda: m_flow(1, (6, 6, 1), rank=3, **CONVOLUTIONAL),
    "curve of images, by transformers": lambda: m_flow(1, (4, 6, 1), rank=3, **TRANSFORMER),
    "conditional surface": lambda: m_flow(2, 3, cond_shape=(2,), conditional_chart=True),
    "conditional affine surface": affine_flow,
    "curve with an encoder": lambda: me_flow(1, 2),
    "autoencoder": lambda: pae(1),
    "autoencoder of images": lambda: pae(2, IMAGE),
    "autoencoder of images, by convolutions": lambda: pae(
        1, (6, 6, 1), width=4, network="convolutional"
    ),
    "autoencoder of images, by transformers": lambda: pae(
        1, (4, 6, 1), width=4, network="transformer"
    ),
    "relaxed injective flow": lambda: ripf(1, 2),
    "variational autoencoder": lambda: vae(1, 2),
    "generative adversarial network": lambda: gan(1, 2),
    "pseudo-invertible encoder": lambda: pie(1, 2),
    "density on a sphere": lambda: fom(3, "sphere"),
    "conditional density on a torus": lambda: fom(4, "torus", cond_shape=(2,)),
    "posterior given a curve": lambda: posterior_flow(
        m_flow(1, 3, chart_layers=1, cond_shape=(2,))
    ),
    "linear": linear_flow,
    "nested": nested_flow,
}


def condition_of(part, count: int | None = None, seed: int = 0) -> jax.Array | None:
    """One condition, or ``count`` of them, for a chart, layer or flow; ``None`` if it has none."""
    if part.cond_shape is None:
        return None
    shape = part.cond_shape if count is None else (count, *part.cond_shape)
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))
