"""What every operation of every modality must keep, asked through `apply_drawn`.

A test module inherits from `ModalityContract`, names its modality and says how its samples are
made, compared and measured; every entry of the modality's table is then covered. Batches of
tensors need little more than `samples`; other kinds of batch override the methods below it.
"""

import copy
import itertools
import random

import numpy as np
import torch

from policysearch.draws import Drawn
from policysearch.modalities import Batch
from policysearch.ops.registry import OPS_VERSIONS, OpSpec, op_table
from policysearch.policy import Policy
from policysearch.transform import apply_drawn

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)


class ModalityContract:
    """Inherit, set `modality`, implement `samples`, and name the class `Test...`."""

    modality: str
    #: Mean change, as `distance` measures it, by which strength may fall from level to level.
    slack = 1e-3
    #: Mean change that an operation makes at least at level 1.
    least_change = 5e-3

    def samples(self, n: int) -> Batch:
        """Samples on which every operation of the modality has something to change."""
        raise NotImplementedError

    def samples_for(self, spec: OpSpec, n: int) -> Batch:  # noqa: ARG002 -- for those that inherit
        """Samples that the operation has something to change in, where not all are such."""
        return self.samples(n)

    def edges(self) -> dict[str, Batch]:
        """Samples at the edge of what is allowed, by what is special about them."""
        raise NotImplementedError

    def strength_samples(self, spec: OpSpec) -> Batch:
        """Samples on which a stronger form of the op makes a larger change on average."""
        return self.samples_for(spec, 64)

    def form(self, x):
        """What must stay: shape and dtype, or the number of samples and their types."""
        return tuple(x.shape), x.dtype, x.device

    def rows(self, batch: Batch, index) -> Batch:
        """Some samples of a batch."""
        index = np.asarray(index)
        lengths, y = (None if v is None else v[index] for v in (batch.lengths, batch.y))
        return Batch(self.entries(batch.x, index), lengths, y, batch.settings)

    def entries(self, x, index):
        return x[torch.from_numpy(np.asarray(index))]

    def distance(self, a, b) -> float:
        """Mean size of the change between two batches of equal form."""
        return (a.to(torch.float64) - b.to(torch.float64)).abs().mean().item()

    def assert_same(self, a, b) -> None:
        """Equal, but for rounding where sums may be taken in another order."""
        torch.testing.assert_close(a, b, rtol=0, atol=2e-6, equal_nan=True)

    def assert_identical(self, a, b) -> None:
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)

    # -- what follows is the contract

    def pytest_generate_tests(self, metafunc):
        if "spec" in metafunc.fixturenames:
            table = op_table(self.modality)
            metafunc.parametrize("spec", table.values(), ids=list(table))

    def drawn(self, spec: OpSpec, level, n: int, seed: int = 0, draws=None) -> Drawn:
        """Draws that apply one op to every sample, signs alternating; `level` one or for each."""
        level = np.broadcast_to(np.asarray(level, dtype=np.float64), (n,))
        sign = np.where(np.arange(n) % 2, -1.0, 1.0) if spec.is_signed else np.ones(n)
        magnitude = sign * spec.magnitude(level) if spec.has_magnitude else np.zeros(n)
        if draws is None:
            draws = np.random.default_rng(seed).random((n, spec.n_draws))
        index = np.zeros((n, 1), dtype=np.int64)
        none = np.zeros((n, 1), dtype=np.bool_)
        return Drawn((spec.name,), index, magnitude[:, None], none, draws[:, None])

    def apply(self, batch: Batch, drawn: Drawn):
        policy = Policy((), self.modality, OPS_VERSIONS[self.modality][-1])
        told = {"lengths": batch.lengths, "y": batch.y, "settings": batch.settings}
        return apply_drawn(batch.x, drawn, policy, **told)

    def test_form_is_kept_and_the_input_is_not_touched(self, spec):
        for what, batch in {"ordinary": self.samples_for(spec, 6), **self.edges()}.items():
            before = copy.deepcopy(batch)
            for level in (0.3, 1.0):
                out = self.apply(batch, self.drawn(spec, level, len(batch)))
                assert self.form(out) == self.form(batch.x), what
            self.assert_identical(batch.x, before.x)

    def test_samples_without_the_op_are_left_alone(self, spec):
        batch = self.samples_for(spec, 6)
        drawn = self.drawn(spec, 1.0, 6)
        drawn.op_index[::2] = -1
        out = self.apply(batch, drawn)
        even = np.arange(0, 6, 2)
        self.assert_identical(self.entries(out, even), self.entries(batch.x, even))

    def test_level_zero_is_the_identity_where_declared(self, spec):
        batch = self.samples_for(spec, 12)
        out = self.apply(batch, self.drawn(spec, 0.0, 12))
        if spec.is_identity_at_low:
            self.assert_identical(out, batch.x)
        else:
            assert self.distance(out, batch.x) > 0

    def test_strength_never_falls_as_the_level_rises(self, spec):
        batch = self.strength_samples(spec)
        n = len(batch)
        changes = [
            self.distance(self.apply(batch, self.drawn(spec, level, n)), batch.x)
            for level in LEVELS
        ]
        assert all(b >= a - self.slack for a, b in itertools.pairwise(changes)), changes
        assert spec.name == "identity" or changes[-1] >= self.least_change, changes

    def test_a_sample_and_its_magnitude_do_not_depend_on_the_batch(self, spec):
        batch = self.samples_for(spec, 7)
        levels = np.array([0.1, 0.4, 0.0, 0.9, 1.0, 0.7, 0.2])
        drawn = self.drawn(spec, levels, 7)
        whole = self.apply(batch, drawn)
        for i in range(7):
            alone = self.apply(self.rows(batch, [i]), drawn.rows(i, i + 1))
            if not spec.needs_batch:
                self.assert_same(alone, self.entries(whole, [i]))

    def test_equal_arguments_give_equal_results_and_no_global_generator_is_used(self, spec):
        batch = self.samples_for(spec, 5)
        random.seed(3)
        torch.manual_seed(5)
        states = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        first = self.apply(batch, self.drawn(spec, 0.8, 5))
        assert random.getstate() == states[0]
        assert torch.equal(torch.get_rng_state(), states[1])
        assert (np.random.get_state()[1] == states[2]).all()  # noqa: NPY002
        self.assert_identical(self.apply(batch, self.drawn(spec, 0.8, 5)), first)

    def test_draws_matter_where_they_are_declared(self, spec):
        batch = self.samples_for(spec, 8)
        a = self.apply(batch, self.drawn(spec, 1.0, 8, seed=1))
        b = self.apply(batch, self.drawn(spec, 1.0, 8, seed=2))
        assert (self.distance(a, b) > 0) == (spec.n_draws > 0)

    def test_an_empty_batch_comes_back_empty(self, spec):
        batch = self.rows(self.samples_for(spec, 2), np.zeros(0, dtype=np.int64))
        out = self.apply(batch, self.drawn(spec, 1.0, 0))
        assert len(out) == 0

    def test_the_identity_is_reached_without_a_jump(self, spec):
        """The kernel itself, not only the short cut at magnitude zero, ends in the identity."""
        if spec.is_identity_at_low and spec.has_magnitude:
            batch = self.samples_for(spec, 8)
            out = self.apply(batch, self.drawn(spec, 1e-7, 8))
            assert self.distance(out, batch.x) < 1e-3

    def test_extreme_draws_stay_within_the_sample(self, spec):
        batch = self.samples_for(spec, 6)
        largest = np.nextafter(1.0, 0.0)
        for value in (0.0, largest):
            draws = np.full((6, spec.n_draws), value)
            out = self.apply(batch, self.drawn(spec, 1.0, 6, draws=draws))
            assert self.form(out) == self.form(batch.x)
