"""Applying policies: frequencies, magnitudes, one semantics for samples and batches, replay.

Statistical bounds are five standard deviations: with the fixed seeds here they always pass or
always fail; a change of the draws is refused in error with probability 6e-7 per comparison.
"""

import copy
import json
import pickle
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from policy_strategies import POLICIES, classes_for

import policysearch
from policysearch.draws import Drawer, Drawn
from policysearch.errors import FormatError, InvalidValueError
from policysearch.named import resolve_policy
from policysearch.ops.registry import company_ops
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.resources import policy_files
from policysearch.transform import PolicyTransform, apply_drawn, load_policy

N = 20_000
ROTATE = OpCall("rotate", 10, 20, unit="deg")
BLUR = OpCall("blur", 0.5, 1.5, unit="px")
INVERT = OpCall("invert")


def policy_of(*stages):
    return Policy((SubPolicy(stages),))


def images(n, channels=3, height=12, width=17, dtype=torch.uint8):
    rng = np.random.default_rng(n * channels)
    values = rng.random((n, channels, height, width))
    if dtype.is_floating_point:
        return torch.from_numpy(values).to(dtype)
    top = {torch.uint8: 255, torch.uint16: 65535}[dtype]
    numpy_dtype = {torch.uint8: np.uint8, torch.uint16: np.uint16}[dtype]
    return torch.from_numpy((values * top).astype(numpy_dtype))


def assert_same(a, b):
    """Equal pixels; floats may differ in the last bits, where a sum is taken in another order."""
    if a.is_floating_point():
        torch.testing.assert_close(a, b, rtol=0, atol=2e-6)
    else:
        assert torch.equal(a, b)


def assert_close(observed, expected, standard_deviation):
    assert abs(observed - expected) <= 5 * standard_deviation


def frequencies(drawn, stage=0):
    index = drawn.op_index[:, stage]
    found = {name: (index == i).mean() for i, name in enumerate(drawn.ops)}
    return found | {None: (index < 0).mean()}


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_probabilities_zero_and_one_are_never_and_always(probability):
    drawn = Drawer(policy_of(Stage((INVERT,), probability)), 0).draw(np.arange(N))
    assert frequencies(drawn)[None] == 1 - probability


def test_ops_come_as_often_as_probability_and_weights_say():
    stage = Stage((ROTATE, OpCall("invert", weight=2), OpCall("identity", weight=1)), 0.8)
    drawn = Drawer(policy_of(stage), 1).draw(np.arange(N))
    found = frequencies(drawn)
    for name, expected in (("rotate", 0.2), ("invert", 0.4), (None, 0.4)):
        assert_close(found[name], expected, (expected * (1 - expected) / N) ** 0.5)


def test_sub_policies_come_as_often_as_their_weights_say():
    policy = Policy((SubPolicy((Stage((INVERT,)),), 3.0), SubPolicy((Stage((BLUR,)),), 1.0)))
    found = frequencies(Drawer(policy, 2).draw(np.arange(N)))
    assert_close(found["invert"], 0.75, (0.75 * 0.25 / N) ** 0.5)
    assert found["blur"] == pytest.approx(1 - found["invert"])


def test_sub_policies_of_different_length_keep_their_own_stages():
    long = SubPolicy((Stage((INVERT,)), Stage((BLUR,))))
    drawn = Drawer(Policy((long, SubPolicy((Stage((ROTATE,)),)))), 0).draw(np.arange(2000))
    seen = {tuple(name for name, _ in drawn.names(i)) for i in range(2000)}
    assert seen == {("invert", "blur"), ("rotate",)}


def test_magnitudes_are_uniform_over_their_range_and_signed_where_the_op_is():
    drawn = Drawer(policy_of(Stage((ROTATE,)), Stage((BLUR,))), 3).draw(np.arange(N))
    rotate, blur = drawn.magnitude[:, 0], drawn.magnitude[:, 1]
    assert 10 <= np.abs(rotate).min() < 10.1 < 19.9 < np.abs(rotate).max() <= 20
    assert_close(np.abs(rotate).mean(), 15, 10 / (12 * N) ** 0.5)
    assert_close((rotate < 0).mean(), 0.5, 0.5 / N**0.5)
    assert 0.5 <= blur.min() < 0.51 < 1.49 < blur.max() <= 1.5
    assert_close(blur.mean(), 1.0, 1 / (12 * N) ** 0.5)


def test_what_is_drawn_for_a_stage_says_nothing_of_another():
    stage = Stage((ROTATE, INVERT), 0.5)
    drawn = Drawer(policy_of(stage, stage), 4).draw(np.arange(N))
    applied = drawn.op_index >= 0
    assert_close(applied.all(axis=1).mean(), 0.25, (0.25 * 0.75 / N) ** 0.5)
    both = np.abs(drawn.magnitude[applied.all(axis=1) & (drawn.op_index == 0).all(axis=1)])
    assert len(both) > 1000
    assert_close(np.corrcoef(both.T)[0, 1], 0, len(both) ** -0.5)


@settings(deadline=None, max_examples=60)
@given(POLICIES, st.integers(0, 2**40), st.lists(st.integers(0, 2**40), max_size=6))
def test_a_sample_is_drawn_alike_in_any_batch(policy, seed, indices):
    drawer = Drawer(policy, seed)
    progress = [i / 7 for i in range(len(indices))]
    classes = classes_for(policy, len(indices))
    together = drawer.draw(indices, 5, progress, classes)
    for i, index in enumerate(indices):
        alone = drawer.draw(
            [index], 5, progress[i], None if classes is None else classes[i : i + 1]
        )
        assert alone.names(0) == together.names(i)
        np.testing.assert_array_equal(alone.extra[0], together.extra[i])


def test_seed_epoch_and_index_each_change_what_is_drawn():
    policy = policy_of(Stage((ROTATE,)))

    def magnitude(seed, epoch, index):
        return Drawer(policy, seed).draw([index], epoch).magnitude[0, 0]

    values = [magnitude(*t) for t in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]]
    assert len(set(values)) == 5
    assert magnitude(0, 0, 0) == values[0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32], ids=str)
@pytest.mark.parametrize("name", ["randaugment", "uniformaugment", "default-image", "augmix"])
def test_a_batch_is_its_samples_one_by_one(name, dtype):
    transform = load_policy(name, seed=5)
    x = images(24, dtype=dtype)
    batch = transform(x, index=range(24), epoch=2)
    assert not torch.equal(batch, x)
    for i in range(24):
        assert_same(transform(x[i], index=i, epoch=2), batch[i])


@settings(deadline=None, max_examples=40)
@given(POLICIES)
def test_a_batch_is_its_samples_for_any_policy(policy):
    transform = PolicyTransform(policy, seed=1)
    transform.set_progress(0.3)
    x = images(6, height=9, width=7)
    y = classes_for(policy, 6) or [0] * 6
    batch, _ = transform(x, y, index=range(6))
    assert batch.shape == x.shape
    for i in range(6):
        assert_same(transform(x[i], y[i], index=i)[0], batch[i])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_pil_numpy_and_torch_give_the_same_pixels(mode):
    transform = load_policy("uniformaugment", seed=6)
    channels = {"L": 1, "RGB": 3, "RGBA": 4, "I;16": 1}[mode]
    x = images(8, channels, dtype=torch.uint16 if mode == "I;16" else torch.uint8)
    expected = transform(x, index=range(8)).numpy()
    for i in range(8):
        array = x[i, 0].numpy() if channels == 1 else x[i].permute(1, 2, 0).numpy()
        image = Image.fromarray(array)
        assert image.mode == mode
        result = transform(image, index=i)
        assert (result.mode, result.size) == (mode, image.size)
        wanted = expected[i, 0] if channels == 1 else expected[i].transpose(1, 2, 0)
        np.testing.assert_array_equal(np.asarray(result), wanted)
        np.testing.assert_array_equal(transform(array, index=i), wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_keep_their_dtype_and_range(dtype):
    transform = load_policy("uniformaugment", seed=6)
    x = images(40, dtype=dtype)
    y = transform(x, index=range(40))
    assert y.dtype == dtype
    assert y.min() >= 0
    assert y.max() <= 1
    assert not torch.equal(x, y)


def test_the_input_is_not_modified():
    x = images(40)
    before = x.clone()
    load_policy("randaugment", seed=0)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in policy_files()
        if (policy := resolve_policy(name).policy).modality == "image" and not company_ops(policy)
    ],
)
@pytest.mark.parametrize("n", [0, 1, 9])
def test_a_draw_is_replayed_from_json_with_equal_pixels(name, n):
    transform = load_policy(name, seed=7)
    drawn = transform.draw(range(n), epoch=3)
    again = Drawn.from_dict(json.loads(json.dumps(drawn.to_dict())))
    assert len(again) == n
    assert [again.names(i) for i in range(n)] == [drawn.names(i) for i in range(n)]
    x = images(n)
    y = transform.replay(x, again)
    assert torch.equal(y, transform(x, index=range(n), epoch=3))
    if n == 1:
        assert torch.equal(transform.replay(x[0], again), y[0])


def test_drawn_names_tell_what_a_sample_gets():
    policy = policy_of(Stage((OpCall("blur", 1, 1),)), Stage((INVERT,), 0.0), Stage((INVERT,)))
    assert Drawer(policy, 0).draw([0]).names(0) == [("blur", 1.0), ("invert", 0.0)]


@pytest.mark.parametrize("name", ["none", "randaugment"])
def test_in_eval_mode_the_input_comes_back(name):
    transform = load_policy(name).eval()
    for x in (images(3), Image.new("RGB", (4, 4)), np.zeros((4, 4), np.uint8)):
        assert transform(x) is x
    assert transform.train()(images(30)).shape == (30, 3, 12, 17)


def test_no_augmentation_is_the_identity_in_training_too():
    x = images(3)
    assert load_policy("none")(x) is x


def test_targets_pass_through():
    x, y = load_policy("none")(images(2), torch.tensor([1, 2]))
    assert torch.equal(y, torch.tensor([1, 2]))
    assert torch.equal(x, images(2))


@pytest.mark.parametrize(("op", "axis"), [("translate_x", 1), ("translate_y", 0)])
def test_a_shift_in_pixels_moves_by_pixels_whatever_the_size(op, axis):
    policy = policy_of(Stage((OpCall(op, 3, 3, unit="px"),)))
    for size in ((12, 17), (30, 9)):
        x = images(1, 1, *size)[0]
        transform = PolicyTransform(policy, seed=0)
        sign = int(np.sign(transform.draw([0]).magnitude[0, 0]))
        moved, plain = transform(x, index=0)[0], x[0]
        rolled = torch.roll(plain, 3 * sign, dims=axis)
        kept = [slice(None), slice(None)]
        kept[axis] = slice(3, None) if sign > 0 else slice(None, -3)
        assert torch.equal(moved[tuple(kept)], rolled[tuple(kept)])
        kept[axis] = slice(None, 3) if sign > 0 else slice(-3, None)
        assert (moved[tuple(kept)] == 0).all()


def test_a_shift_by_more_pixels_than_the_image_has_leaves_the_fill():
    policy = Policy(
        (SubPolicy((Stage((OpCall("translate_x", 500, 500, unit="px"),)),)),), fill=1.0
    )
    assert (PolicyTransform(policy)(images(2)) == 255).all()


def test_calls_without_index_differ_and_are_repeated_by_a_transform_of_the_same_seed():
    a, b, c = (load_policy("uniformaugment", seed=seed) for seed in (3, 3, 4))
    x = images(16)
    first, second = a(x), a(x)
    assert not torch.equal(first, second)
    assert torch.equal(b(x), first)
    assert torch.equal(torch.stack([b(sample) for sample in x]), second)
    assert not torch.equal(c(x), first)


def test_set_epoch_is_the_epoch_of_draws_with_an_index():
    transform = load_policy("uniformaugment")
    x = images(16)
    expected = transform(x, index=range(16), epoch=4)
    assert not torch.equal(transform(x, index=range(16)), expected)
    transform.set_epoch(4)
    assert torch.equal(transform(x, index=range(16)), expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_goes_on_as_the_original_does(copied):
    original = load_policy("uniformaugment", seed=2)
    original(images(4))
    for sample in images(3):  # in the midst of what was drawn ahead
        original(sample)
    other = copied(original)
    assert torch.equal(other(images(16)[7]), original(images(16)[7]))
    assert torch.equal(other(images(16)), original(images(16)))


@pytest.mark.parametrize("name", ["uniformaugment", "augmix"])
def test_single_images_of_changing_size_are_drawn_as_a_batch_is(name):
    stream, plain = (load_policy(name, seed=3) for _ in range(2))
    drawn = plain.draw(range(150), epoch=-1)  # the stream of the main process
    for i, sample in enumerate(images(150)):
        x = sample[:, :9] if i % 7 in (2, 3, 4) else sample
        assert torch.equal(stream(x), plain.replay(x, drawn.rows(i, i + 1)))


@pytest.mark.parametrize("name", ["uniformaugment", "augmix"])
def test_samples_given_together_are_augmented_as_alone(name):
    transform = load_policy(name, seed=3)
    samples = [
        x[:, :9].numpy().transpose(1, 2, 0) if i % 3 == 0 else x for i, x in enumerate(images(12))
    ]
    together = transform.each(samples, range(5, 17), [i % 4 for i in range(12)])
    for i, (sample, result) in enumerate(zip(samples, together, strict=True)):
        alone = transform(sample, index=i + 5, epoch=i % 4)
        assert type(result) is type(sample)
        np.testing.assert_array_equal(np.asarray(result), np.asarray(alone))
    transform.eval()
    assert all(a is b for a, b in zip(transform.each(samples, range(12), 0), samples, strict=True))


class Picture(torch.Tensor):
    """A tensor with a name of its own, as torchvision's are."""


def test_a_named_kind_of_tensor_comes_back_as_its_kind():
    transform = load_policy("uniformaugment", seed=3)
    for x in (images(4), images(1)[0]):
        y = transform(x.as_subclass(Picture), index=range(4) if x.ndim == 4 else 0)
        assert type(y) is Picture
        expected = transform(x, index=range(4) if x.ndim == 4 else 0)
        assert torch.equal(y.as_subclass(torch.Tensor), expected)


def test_a_compiled_training_step_goes_around_the_transform():
    compiled, plain = (load_policy("trivialaugment-wide", seed=3) for _ in range(2))

    def step(transform, x):
        return (transform(x).float() / 255).square().sum()

    in_graph = torch.compile(step, backend="eager")
    for _ in range(12):
        assert torch.equal(in_graph(compiled, images(4)), step(plain, images(4)))
    # One piece before the transform and one after it, not one for every call.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2


def test_global_generators_are_neither_read_nor_moved():
    x = images(32)

    def augmented():
        transform = load_policy("uniformaugment", seed=1)
        return torch.cat([transform(x), transform(x, index=range(32), epoch=1)])

    def states():
        return (
            random.getstate(),
            tuple(map(str, np.random.get_state())),  # noqa: NPY002
            tuple(torch.get_rng_state().tolist()),
        )

    results = []
    for seed in (0, 123):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        before = states()
        results.append(augmented())
        assert states() == before
    assert torch.equal(*results)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda t, x: t(x, index=[0, 1]), "`drawn` must hold 4 samples, got 2"),
        (lambda t, x: t(x[0], index=[0, 1]), "`drawn` must hold 1 samples, got 2"),
        (lambda t, x: t.replay(x, t.draw([0])), "`drawn` must hold 4 samples, got 1"),
        (lambda t, x: apply_drawn(x, t.draw([0]), t.policy), "`drawn` must hold 4 samples"),
        (lambda t, x: t(x.to(torch.int64)), "got int64"),
        (lambda t, x: t([x]), "got list"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, text):
    with pytest.raises(InvalidValueError, match=text):
        call(load_policy("randaugment"), images(4))


def test_a_policy_with_an_unknown_op_makes_no_transform():
    with pytest.raises(FormatError, match=r"'rotat'\. Did you mean 'rotate'.*sub_policies\[0\]"):
        PolicyTransform(policy_of(Stage((OpCall("rotat", 0, 1),))))


def test_the_public_names_are_the_transforms():
    assert policysearch.load_policy is load_policy
    assert policysearch.PolicyTransform is PolicyTransform
    assert policysearch.Policy(mix=policysearch.Mix()).canonical() == Policy()
    text = repr(load_policy("none", seed=9))
    assert "seed=9" in text
    assert Policy().digest() in text


def test_threads_share_a_transform_without_sharing_a_draw():
    shared, alone = (load_policy("uniformaugment", seed=3) for _ in range(2))
    small, large = images(1)[0], images(1, height=40, width=40)[0]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(shared, [large if i % 5 == 4 else small for i in range(400)]))
    drawn = alone.draw(range(400), epoch=-1)
    expected = Counter()
    for i in range(400):
        expected[alone.replay(small, drawn.rows(i, i + 1)).numpy().tobytes()] += 1
    found = Counter(r.numpy().tobytes() for r in results if r.shape == small.shape)
    assert sum(found.values()) == 320
    assert not found - expected, "two calls got one draw"


@pytest.mark.parametrize("index", [3.7, "3", True, 2**64, [[0]], float("nan")])
def test_an_index_is_a_whole_number(index):
    with pytest.raises(InvalidValueError, match="`index` must be a whole number"):
        load_policy("uniformaugment")(images(1)[0], index=index)


def test_nan_does_not_hide_values_out_of_range():
    x = torch.tensor([float("nan"), 1000.0]).expand(3, 2, 2)
    with pytest.raises(InvalidValueError, match=r"must lie in \[0, 1\]"):
        load_policy("uniformaugment")(x)


class Mask(torch.Tensor):
    """Has the name of torchvision's."""


def test_a_mask_is_not_left_behind_in_silence():
    mask = torch.zeros(1, 12, 17).as_subclass(Mask)
    for arguments in ((images(1)[0], mask), (mask,)):
        with pytest.raises(InvalidValueError, match="Mask is not moved"):
            load_policy("uniformaugment")(*arguments)
