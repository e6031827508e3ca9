"""Training on data that stay in their file."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from tests.training.small import Centre, centre_of, line_flow, losses, moving, points

import mflows as mf
from mflows.data import DataError, stream
from mflows.training import LatentNegativeLogLikelihood, NegativeLogLikelihood, Phase, rows
from mflows.training.phases import Batch
from mflows.training.rows import Rows, ahead, rows_of

ROWS = 1003


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A thousand rows, in order of their first coordinate, in blocks of two hundred at most."""
    monkeypatch.setattr(rows, "NUMBERS", 400)
    x = points(1.0, ROWS)
    np.save(tmp_path / "t.npy", x[np.argsort(x[:, 0])])
    return tmp_path / "t.npy"


def test_an_epoch_is_almost_every_row_once_in_mixed_blocks(path):
    found = rows_of(line_flow(), stream(path), seed=0)
    assert found.blocks == 6
    assert found.points == 8 * (ROWS // 48)
    blocks = [np.asarray(block.x) for block in found.epoch(jr.key(0))]
    assert [len(block) for block in blocks] == [found.points] * 6
    seen = np.concatenate(blocks)
    whole = np.load(path)
    assert len(np.unique(seen, axis=0)) == len(seen) == found.points * 6
    assert {tuple(row) for row in seen} <= {tuple(row) for row in whole}
    low, high = np.quantile(whole[:, 0], (0.25, 0.75))
    for block in blocks:  # the file is sorted, the blocks are not
        assert (block[:, 0] < low).any() or (block[:, 0] > high).any()
    spread = [block[:, 0].std() for block in blocks]
    assert min(spread) > 0.5 * whole[:, 0].std()
    again = [np.asarray(block.x) for block in found.epoch(jr.key(0))]
    other = [np.asarray(block.x) for block in found.epoch(jr.key(1))]
    assert all(np.array_equal(a, b) for a, b in zip(blocks, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(blocks, other, strict=True))


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_few_rows_are_streamed_too(count):
    x = np.arange(2.0 * count).reshape(count, 2)
    sample = Batch(jnp.asarray(x), None)
    found = Rows(sample, (x, None, None))
    (block,) = found.epoch(jr.key(0))
    assert 0 < len(block.x) == found.points <= count


def test_prepared_rows_are_encoded_once_and_read_from_disk(path, monkeypatch):
    flow = line_flow()
    genuine, encoded = LatentNegativeLogLikelihood.prepare, []

    def counted(self, flow, batch):
        encoded.append(len(batch.x))
        return genuine(self, flow, batch)

    monkeypatch.setattr(LatentNegativeLogLikelihood, "prepare", counted)
    found = rows_of(flow, stream(path), seed=0)
    objective = LatentNegativeLogLikelihood()
    prepared = found.prepared(lambda block: objective.prepare(flow, block))
    assert sum(encoded) == ROWS + len(found.sample.x)
    for epoch in range(3):
        seen = np.concatenate([np.asarray(b.x) for b in prepared.epoch(jr.key(epoch))])
        known = np.asarray(flow.encode(np.load(path)))
        assert {*seen.ravel()} <= {*known.ravel()}
        assert len({*seen.ravel()}) == len(seen) == prepared.points * prepared.blocks
    assert sum(encoded) == ROWS + len(found.sample.x)


def test_a_streamed_training_ends_where_one_in_memory_does(path):
    settings = {"batch_size": 20, "learning_rate": 0.03}
    phases = [
        moving(6, name="chart", **settings),
        Phase(LatentNegativeLogLikelihood(), ("latent",), 6, name="density", **settings),
        Phase(NegativeLogLikelihood(), ("latent",), 2, name="more", **settings),
    ]
    held_out = points(1.0, 100, seed=5)
    train = [stream(path), np.load(path)]
    streamed, whole = (
        mf.fit(jr.key(0), line_flow(), data, phases, validation=held_out, progress=False)
        for data in train
    )
    assert np.allclose(centre_of(streamed.flow), centre_of(whole.flow), atol=0.01)
    for phase in ("chart", "density", "more"):
        last = [
            [row["validation"] for row in fitted.history if row["phase"] == phase][-1]
            for fitted in (streamed, whole)
        ]
        assert last[0] == pytest.approx(last[1], abs=0.02)


def test_a_stream_in_one_block_is_split_by_itself(path):
    fitted = mf.fit(jr.key(0), line_flow(), stream(path), [moving(2)], progress=False)
    assert all(np.isfinite(loss) for row in losses(fitted.history) for loss in row[2:])


def test_starts_see_a_sample(path):
    seen = []

    def start(key, flow, batch):
        seen.append(batch.x.shape)
        return flow

    phase = moving(1, start=start)
    mf.fit(jr.key(0), line_flow(), stream(path), [phase], validation=0, progress=False)
    assert seen == [(ROWS, 2)]


def test_a_file_that_is_cut_while_it_trains(path):
    data = stream(path)
    np.save(path, np.load(path)[:500])
    with pytest.raises(DataError, match="expected 1003 rows, as when it was opened; got 500"):
        mf.fit(jr.key(0), line_flow(), data, [moving(1)], validation=0, progress=False)


def test_an_error_of_the_reader_reaches_the_caller():
    def broken(index):
        if index == 2:
            raise OSError("the disk is gone")
        return index

    made = ahead(broken, range(5))
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(made)


def test_blocks_share_one_compiled_program(path):
    compiled = []

    class Counted(Centre):
        def __call__(self, flow, batch, key):
            compiled.append(batch.x.shape)
            return super().__call__(flow, batch, key)

    held_out = points(1.0, 100, seed=5)
    phase = moving(3, objective=Counted())
    mf.fit(jr.key(0), line_flow(), stream(path), [phase], validation=held_out, progress=False)
    assert sorted(compiled) == [(10, 2), (100, 2)]
