"""Mixed chains: how their weights are distributed, what the average is, and what it costs.

Statistical bounds are five standard deviations, as in `test_transform`.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch

from policysearch.draws import Drawer, Drawn
from policysearch.mixture import as_levels, mix_weights, mixed, n_mix_draws, repeated
from policysearch.policy import MIN_ALPHA, Mix, OpCall, Policy, Stage, SubPolicy
from policysearch.seeding import uniforms
from policysearch.transform import PolicyTransform, apply_drawn

N = 20_000
INVERT, FLIP = OpCall("invert"), OpCall("flip_horizontal")
DTYPES = [torch.uint8, torch.uint16, torch.float16, torch.float32, torch.float64]


def weights_of(mix, n=N, seed=0):
    return mix_weights(mix, uniforms(seed, 0, np.arange(n), n_mix_draws(mix)))


def images(n, dtype=torch.uint8, side=9):
    x = torch.from_numpy(np.random.default_rng(n).random((n, 3, side, side)))
    if dtype.is_floating_point:
        return x.to(dtype)
    top = {torch.uint8: 255, torch.uint16: 65535}[dtype]
    return (x * (top + 1)).to(torch.int32).to(dtype)


def chains_for(x, width):
    """Other images, `width` for each of `x`, and the function that hands them out."""
    chains = images(len(x) * width + 1, x.dtype, x.shape[-1])[1:]
    return chains, lambda part: chains[part.start * width : part.stop * width]


def assert_mean(values, expected, variance):
    assert abs(values.mean() - expected) <= 5 * (variance / len(values)) ** 0.5 + 1e-12


@pytest.mark.parametrize("alpha", [0.05, 0.4, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("width", [1, 3, 8])
def test_weights_are_drawn_from_beta_and_dirichlet(alpha, width):
    weights = weights_of(Mix(width, alpha))
    assert weights.shape == (N, 1 + width)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    share = weights[:, 0]
    beta_variance = 1 / (4 * (2 * alpha + 1))
    assert_mean(share, 0.5, beta_variance)
    assert_mean((share - 0.5) ** 2, beta_variance, beta_variance / 4)  # it is at most 1/4
    rest = weights[:, 1:].sum(axis=1, keepdims=True)
    parts = (weights[:, 1:] / rest)[rest[:, 0] > 0]  # of the others nothing is left to divide
    variance = (width - 1) / (width**2 * (width * alpha + 1))
    for part in parts.T:
        assert_mean(part, 1 / width, variance)
        assert_mean((part - 1 / width) ** 2, variance, variance)  # it is at most 1


def test_weights_are_those_of_scipys_distributions_in_every_quantile():
    from scipy.stats import beta, kstest

    for alpha in (0.2, 1.0, 7.0):
        weights = weights_of(Mix(3, alpha), seed=3)
        part = weights[:, 2] / weights[:, 1:].sum(axis=1)
        assert kstest(weights[:, 0], beta(alpha, alpha).cdf).pvalue > 1e-4
        assert kstest(part, beta(alpha, 2 * alpha).cdf).pvalue > 1e-4


def test_alpha_one_is_the_limit_of_its_neighbours():
    near = weights_of(Mix(3, 1 + 1e-9), n=100)
    np.testing.assert_allclose(weights_of(Mix(3, 1.0), n=100), near, rtol=1e-6)


@pytest.mark.parametrize("alpha", [MIN_ALPHA, 1e-3, 1.0, 100.0])
def test_the_ends_of_the_uniform_numbers_and_a_tiny_alpha_give_weights(alpha):
    corners = np.array(np.meshgrid(*[[0.0, 1e-300, 0.5, 1 - 2.0**-53]] * 5)).reshape(5, -1).T
    weights = mix_weights(Mix(3, alpha), corners)
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    if alpha < 0.01:  # one part alone, nearly always
        assert (weights_of(Mix(3, alpha)).max(axis=1) > 0.99).mean() > 0.98


def test_small_and_large_quantiles_meet_without_a_step():
    # At this alpha the quantile of u = 1e-200 ** alpha is where one formula takes over.
    alpha = 0.01
    u = np.array(
        [[0.5, 0.5, 1e-2 * (1 + step), 0.5, 0.5] for step in np.linspace(-0.02, 0.02, 41)]
    )
    logs = np.log(mix_weights(Mix(3, alpha), u)[:, 1])
    np.testing.assert_allclose(np.diff(logs), np.diff(np.log(u[:, 2])) / alpha, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 3])
def test_the_average_is_its_formula(dtype, width):
    x = images(50, dtype)
    chains, chains_of = chains_for(x, width)
    weights = weights_of(Mix(width), n=50)
    y = mixed(x, weights, chains_of, as_levels)
    assert (y.dtype, y.shape) == (dtype, x.shape)
    exact = weights[:, :1, None, None] * x.to(torch.float64).numpy()
    parts = chains.to(torch.float64).numpy().reshape(50, width, *x.shape[1:])
    exact += (weights[:, 1:, None, None, None] * parts).sum(axis=1)
    gap = y.to(torch.float64).numpy() - exact
    below, above = {torch.uint8: (-1 - 1e-4, 1e-4), torch.uint16: (-0.55, 0.55)}.get(
        dtype, (-0.001, 0.001) if dtype == torch.float16 else (-1e-6, 1e-6)
    )
    assert below <= gap.min()
    assert gap.max() <= above
    if dtype == torch.float64:
        assert np.abs(gap).max() < 1e-15


def test_bytes_are_cut_and_deeper_values_rounded():
    for dtype, expected in ((torch.uint8, 1), (torch.uint16, 2)):
        x, chain = (torch.full((1, 1, 1, 1), v, dtype=torch.int32).to(dtype) for v in (1, 2))
        y = mixed(x, np.array([[0.25, 0.75]]), lambda _, chain=chain: chain, as_levels)
        assert y.to(torch.int32).item() == expected


def test_floats_stay_within_the_range_and_nan_stays_nan():
    x = torch.ones(500, 1, 1, 1)
    y = mixed(x, weights_of(Mix(), n=500), lambda part: repeated(x[part], 3), as_levels)
    assert y.max() == 1
    bad = torch.full((1, 1, 1, 1), torch.nan)
    ones = torch.ones(1, 1, 1, 1)
    assert mixed(bad, np.array([[0.5, 0.5]]), lambda _: ones, as_levels).isnan().all()


def test_large_batches_are_mixed_in_parts_with_the_same_result(monkeypatch):
    x = images(30)
    weights = weights_of(Mix(), n=30)
    _, chains_of = chains_for(x, 3)
    parts = []

    def watched(part):
        parts.append(part)
        return chains_of(part)

    whole = mixed(x, weights, chains_of, as_levels)
    monkeypatch.setattr("policysearch.mixture._CHAIN_BYTES", 7 * 3 * x[0].numel())
    assert torch.equal(mixed(x, weights, watched, as_levels), whole)
    assert [len(range(30)[part]) for part in parts] == [7, 7, 7, 7, 2]
    monkeypatch.setattr("policysearch.mixture._CHAIN_BYTES", 1)
    assert torch.equal(mixed(x, weights, chains_of, as_levels), whole)


PEAK = r"""
import re, torch
from pathlib import Path
from policysearch.policy import Mix, OpCall, Policy, Stage, SubPolicy
from policysearch.transform import PolicyTransform

def memory(name):  # ru_maxrss would be the highest of the parent process too
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(name + r":\s+(\d+) kB", text)[1])

torch.set_num_threads(1)
calls = OpCall("invert"), OpCall("rotate", 0.0, 30.0), OpCall("sharpness", 0.9, 0.9)
subs = tuple(SubPolicy((Stage(calls),) * n) for n in (1, 2, 3))
transform = PolicyTransform(Policy(subs, interpolation="bilinear", mix=Mix({width})))
x = torch.randint(0, 256, ({n}, 3, 256, 256), dtype=torch.uint8)
transform(x[:2], index=[0, 1])
before = memory("VmRSS")
transform(x, index=range(len(x)))
print((memory("VmHWM") - before) / x.numel())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read as Linux tells it")
@pytest.mark.parametrize("width", [3, 8])
def test_mixing_a_batch_takes_less_than_four_more_of_memory(width):
    code = PEAK.format(width=width, n=160)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.9 < float(done.stdout) < 4  # the result itself is one


def one_op(call, **mix):
    return Policy((SubPolicy((Stage((call,)),)),), mix=Mix(**mix))


def test_chains_are_drawn_each_for_itself():
    policy = Policy((SubPolicy((Stage((INVERT, FLIP), 0.5),)),), mix=Mix(3))
    drawn = Drawer(policy, 1).draw(np.arange(N))
    assert (drawn.op_index.shape, drawn.n_chains) == ((N, 3), 3)
    acts = drawn.op_index >= 0
    for chain in acts.T:
        assert_mean(chain, 0.5, 0.25)
    assert_mean(acts.all(axis=1), 1 / 8, 7 / 64)
    both = drawn.op_index[acts[:, 0] & acts[:, 2]]
    assert_mean(both[:, 0] == both[:, 2], 0.5, 0.25)


def test_weights_say_nothing_of_what_the_chains_do():
    policy = Policy((SubPolicy((Stage((INVERT,), 0.5),)),), mix=Mix(3))
    drawn = Drawer(policy, 1).draw(np.arange(N))
    for i, j in np.ndindex(4, 3):
        assert abs(np.corrcoef(drawn.mix[:, i], drawn.op_index[:, j])[0, 1]) < 5 * N**-0.5


def test_the_first_chain_is_what_the_policy_draws_without_mixing():
    stages = (Stage((OpCall("rotate", 0, 30), INVERT, OpCall("crop", 0.1, 0.2)), 0.7),) * 2
    plain = Policy((SubPolicy(stages), SubPolicy((Stage((FLIP,)),))))
    drawn = Drawer(plain, 4).draw(range(50), 2)
    chains = Drawer(Policy(plain.sub_policies, mix=Mix(2)), 4).draw(range(50), 2)
    assert drawn.mix is None
    assert [chains.chains(i)[0] for i in range(50)] == [drawn.names(i) for i in range(50)]
    assert [chains.chains(i)[1] for i in range(50)] != [drawn.names(i) for i in range(50)]
    np.testing.assert_array_equal(chains.extra[:, :2], drawn.extra)


def test_names_are_those_of_all_chains():
    policy = Policy((SubPolicy((Stage((INVERT,)), Stage((FLIP,), 0.5))),), mix=Mix(2))
    drawn = Drawer(policy, 0).draw(range(20))
    for i in range(20):
        assert drawn.names(i) == [call for chain in drawn.chains(i) for call in chain]
        assert [chain[0] for chain in drawn.chains(i)] == [("invert", 0.0)] * 2


def test_a_mixed_draw_is_applied_as_its_formula_says():
    x = images(20)
    transform = PolicyTransform(one_op(INVERT, width=2, alpha=0.7), seed=9)
    drawn = transform.draw(range(20))
    original = x.to(torch.float32)
    w = torch.from_numpy(drawn.mix).to(torch.float32)[..., None, None, None]
    expected = original * w[:, 0] + (255 - original) * w[:, 1] + (255 - original) * w[:, 2]
    assert torch.equal(transform(x, index=range(20)), expected.to(torch.uint8))


def test_a_sample_that_no_chain_changes_stays_as_it_is_to_the_last_level():
    x = images(200)
    policy = Policy((SubPolicy((Stage((FLIP,), 0.3),)),), mix=Mix(2))
    transform = PolicyTransform(policy, seed=0)
    idle = np.flatnonzero([not transform.draw([i]).names(0) for i in range(200)])
    assert 50 < len(idle) < 150
    y = transform(x, index=range(200))
    assert torch.equal(y[idle], x[idle])
    only = x[idle]
    assert transform(only, index=idle) is only


@pytest.mark.parametrize(
    "policy",
    [Policy(mix=Mix()), one_op(OpCall("identity"), width=2)],
)
def test_mixing_chains_of_nothing_is_nothing(policy):
    x = images(4)
    transform = PolicyTransform(policy)
    assert transform(x) is x
    assert transform.draw(range(4)).names(0) == []


def test_a_draw_recorded_before_there_was_mixing_is_replayed():
    transform = PolicyTransform(Policy(one_op(INVERT).sub_policies))
    data = transform.draw(range(3)).to_dict()
    assert set(data) == {"ops", "op_index", "magnitude", "is_pixels", "extra"}
    assert torch.equal(transform.replay(images(3), Drawn.from_dict(data)), 255 - images(3))


def test_a_recorded_mix_is_what_counts_and_not_the_policy():
    mixing = PolicyTransform(one_op(INVERT), seed=1)
    drawn = Drawn.from_dict(mixing.draw(range(3)).to_dict())
    assert torch.equal(apply_drawn(images(3), drawn, Policy()), mixing(images(3), index=range(3)))


def test_scipy_is_loaded_for_other_alphas_than_one_only():
    code = (
        "import sys; from policysearch.policy import *; from policysearch.mixture import *; "
        "import numpy as np; u = np.full((2, 5), 0.5); mix_weights(Mix(), u); "
        "before = 'scipy' in sys.modules; mix_weights(Mix(alpha=0.5), u); "
        "print(before, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
