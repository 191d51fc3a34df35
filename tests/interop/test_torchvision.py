"""Whole policies and single operations against torchvision's PIL path: equal in every pixel.

Nothing is tolerated with nearest interpolation. Bilinear may be one level off, because we compute
in float32 where Pillow uses doubles and both drop fractions of a level.
"""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torchvision", reason="torchvision is not installed; use `make test-interop`")

from torchvision.transforms import InterpolationMode, functional
from torchvision.transforms.autoaugment import (
    AugMix,
    AutoAugment,
    AutoAugmentPolicy,
    RandAugment,
    TrivialAugmentWide,
)
from torchvision_ops import (
    GEOMETRY,
    NAMES,
    THEIR_NAMES,
    RecordedAugMix,
    dim,
    our_magnitude,
    ours,
    scene,
    signs,
    their_magnitude,
    theirs,
    to_batch,
)

from policysearch.named import resolve_policy
from policysearch.ops.image_geometry import whole_pixels
from policysearch.policy import Mix, Policy
from policysearch.transform import PolicyTransform, load_policy

SIZES = [(32, 32), (8, 8), (33, 20), (224, 224), (150, 301)]  # height, width
SMALL_SIZES = [size for size in SIZES if max(size) < 100]
MODES = ["RGB", "L"]
AUTOAUGMENTS = {
    "autoaugment-cifar10": AutoAugmentPolicy.CIFAR10,
    "autoaugment-svhn": AutoAugmentPolicy.SVHN,
    "autoaugment-imagenet": AutoAugmentPolicy.IMAGENET,
}


def augmix_space(size):
    """Torchvision's table but for what Pillow refuses: posterize to 0 bits."""
    space = AugMix()._augmentation_space(10, size)
    bits, is_signed = space["Posterize"]
    return space | {"Posterize": (bits.clamp(min=1), is_signed)}


TABLES = {
    "autoaugment": lambda size: AutoAugment()._augmentation_space(10, size),
    "randaugment": lambda size: RandAugment()._augmentation_space(31, size),
    "trivialaugment": lambda _size: TrivialAugmentWide()._augmentation_space(31),
    "augmix": augmix_space,
}


def op_cases(names=None):
    return [
        (table, op)
        for table, space in TABLES.items()
        for op in space((32, 32))
        if names is None or op in names
    ]


def signed_bins(table, op, size):
    """Every magnitude of an op in a table of torchvision's, with both signs where it has them."""
    magnitudes, is_signed = TABLES[table](size)[op]
    assert is_signed == (len(signs(op)) == 2)
    values = np.atleast_1d(magnitudes.double().numpy())
    return [sign * float(value) for value in values for sign in signs(op)]


def pairs(op, magnitudes, image, interpolation, fill):
    """Our result and torchvision's for each magnitude."""
    policy = Policy(interpolation=interpolation, fill=fill / 255)
    samples = [[(NAMES[op], our_magnitude(op, m))] for m in magnitudes]
    expected = [theirs(image, [(op, m)], interpolation, fill) for m in magnitudes]
    return zip(magnitudes, ours(image, samples, policy), expected, strict=True)


@pytest.mark.parametrize(("table", "op"), op_cases())
def test_op_equals_torchvision_at_every_bin_and_sign(table, op):
    for size, mode in itertools.product(SIZES, MODES):
        magnitudes = signed_bins(table, op, size)
        for image in (scene(size, mode), dim(scene(size, mode))):
            for m, mine, expected in pairs(op, magnitudes, image, "nearest", 99):
                np.testing.assert_array_equal(mine, expected, err_msg=f"{op} {m} {size} {mode}")


@pytest.mark.parametrize(("table", "op"), op_cases(GEOMETRY))
def test_bilinear_op_is_within_one_level_of_torchvision(table, op):
    n_off = n_pixels = 0
    for size, mode in itertools.product(SIZES, MODES):
        magnitudes = signed_bins(table, op, size)
        for m, mine, expected in pairs(op, magnitudes, scene(size, mode), "bilinear", 99):
            gap = np.abs(mine.astype(int) - expected)
            assert gap.max() <= 1, f"{op} {m} {size} {mode}"
            n_off, n_pixels = n_off + (gap > 0).sum(), n_pixels + gap.size
    # Where the true value is a whole level, doubles often fall just below it and lose the level;
    # on slopes under a shear these are up to 3 % of the values.
    assert n_off <= 0.05 * n_pixels


def calls_of(policy):
    """The one call of every stage of every sub-policy, with its probability."""
    for sub in policy.sub_policies:
        assert sub.weight == 1.0
        yield [(*stage.choices, stage.probability) for stage in sub.stages]


def our_call(call):
    """An op call in torchvision's words, for an image of 331 x 331."""
    if call.low is None:
        return THEIR_NAMES[call.op], None
    assert call.low == call.high
    return THEIR_NAMES[call.op], their_magnitude(call.op, call.low, (331, 331))


def their_call(op, k, space):
    """A published (op, bin) with the magnitude that torchvision gives it; to the last bit."""
    bins = space[op][0]
    if k is None or bins.ndim == 0:
        return op, None
    value = float(bins[k])
    # Translations are cut to whole pixels; the test of all sizes shows that these are equal.
    return op, pytest.approx(value, abs=1e-4) if "Translate" in op else value


@pytest.mark.parametrize("name", AUTOAUGMENTS)
def test_shipped_autoaugment_is_torchvisions_table(name):
    reference = AutoAugment(AUTOAUGMENTS[name])
    space = reference._augmentation_space(10, (331, 331))
    table = [[(our_call(c), p) for c, p in s] for s in calls_of(resolve_policy(name).policy)]
    published = [[(their_call(op, k, space), p) for op, p, k in s] for s in reference.policies]
    assert table == published


@pytest.mark.parametrize(
    ("name", "table", "largest"),
    [
        *((name, "autoaugment", 150 / 331) for name in AUTOAUGMENTS),
        ("randaugment", "randaugment", 150 / 331),
        ("augmix", "augmix", 1 / 3),
    ],
)
def test_shipped_translations_are_torchvisions_whole_pixels_at_every_size(name, table, largest):
    fractions = {c.low for _, c in resolve_policy(name).policy.calls() if "translate" in c.op}
    for side in range(1, 1025):
        bins = TABLES[table]((side, side))["TranslateX"][0].double().numpy()
        for fraction in fractions:
            expected = int(bins[round(fraction / largest * (len(bins) - 1))])
            assert whole_pixels(np.array([fraction, -fraction]), side).tolist() == [
                expected,
                -expected,
            ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", AUTOAUGMENTS)
def test_every_sub_policy_equals_torchvision_with_every_sign(name, mode):
    """Also with either of its ops left out, as their probabilities have it."""
    policy, reference = resolve_policy(name).policy, AutoAugment(AUTOAUGMENTS[name])
    for size in SIZES:
        image, space = scene(size, mode), reference._augmentation_space(10, size)
        for stages, published in zip(calls_of(policy), reference.policies, strict=True):
            options = []
            for (call, _), (op, _, k) in zip(stages, published, strict=True):
                value = 0.0 if k is None else float(space[op][0][k].item())
                options.append(
                    [(("identity", 0.0), ("Identity", 0.0))]
                    + [((call.op, s * (call.low or 0.0)), (op, s * value)) for s in signs(op)]
                )
            plans = list(itertools.product(*options))
            result = ours(image, [[o for o, _ in p] for p in plans], policy, is_pixels=False)
            for plan, mine in zip(plans, result, strict=True):
                expected = theirs(image, [t for _, t in plan])
                np.testing.assert_array_equal(mine, expected, err_msg=f"{plan} {size}")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*AUTOAUGMENTS, "randaugment", "trivialaugment-wide"])
def test_what_a_named_policy_draws_is_what_torchvision_makes_of_it(name, mode):
    """From the name to pixels, single images and batches; every draw is checked, none skipped."""
    transform = load_policy(name, seed=5)
    is_in_pixels = name == "trivialaugment-wide"
    for size in SMALL_SIZES:
        image = scene(size, mode)
        index = np.arange(300)
        result = transform(to_batch([image] * len(index)), index=index)
        plan = transform.draw(index)
        for i in index:
            calls = []
            for op, m in plan.names(i):
                value = m if is_in_pixels and "translate" in op else their_magnitude(op, m, size)
                calls.append((THEIR_NAMES[op], value))
            expected = theirs(image, calls)
            np.testing.assert_array_equal(to_batch([transform(image, index=i)])[0], result[i])
            mine = result[i].numpy().transpose(1, 2, 0)
            np.testing.assert_array_equal(
                mine[..., 0] if mode == "L" else mine, expected, err_msg=f"{calls} {size}"
            )


def augmix_pairs(interpolation, size, mode, n=300):
    """What our policy makes of an image, and torchvision's AugMix with the same draws."""
    policy = dataclasses.replace(resolve_policy("augmix").policy, interpolation=interpolation)
    transform = PolicyTransform(policy, seed=5)
    reference = RecordedAugMix(interpolation=InterpolationMode(interpolation))
    image, plan = scene(size, mode), transform.draw(range(n))
    result = transform(to_batch([image] * n), index=range(n)).permute(0, 2, 3, 1).numpy()
    for i in range(n):
        chains = [
            [(THEIR_NAMES[op], their_magnitude(op, m, size)) for op, m in chain]
            for chain in plan.chains(i)
        ]
        mine = result[i, ..., 0] if mode == "L" else result[i]
        np.testing.assert_array_equal(transform(image, index=i), mine)
        yield chains, mine, reference.run(image, chains, plan.mix[i].tolist())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", SMALL_SIZES)
def test_what_augmix_draws_is_what_torchvision_makes_of_it(size, mode):
    """Operations, weights and the average of the chains; every draw is checked, none skipped."""
    for chains, mine, expected in augmix_pairs("nearest", size, mode):
        np.testing.assert_array_equal(mine, expected, err_msg=f"{chains} {size}")


@pytest.mark.parametrize("mode", MODES)
def test_augmix_as_shipped_is_torchvisions_but_for_levels_off_by_one_in_an_op(mode):
    """A level off is of no account, unless an op after it equalizes or drops bits."""
    gaps = [
        np.abs(mine.astype(int) - expected)
        for _, mine, expected in augmix_pairs("bilinear", (33, 20), mode)
    ]
    assert np.mean(np.array(gaps) > 0) < 0.01
    assert np.mean(np.array(gaps) > 1) < 0.001


def only_stages(name):
    """The stages of a policy of one sub-policy, each as {op: call} with equal weights."""
    (sub,) = resolve_policy(name).policy.sub_policies
    for stage in sub.stages:
        assert stage.probability == 1.0
        assert {call.weight for call in stage.choices} == {1.0}
        yield {call.op: call for call in stage.choices}


def test_shipped_randaugment_is_torchvisions_default():
    reference = RandAugment()
    space = reference._augmentation_space(reference.num_magnitude_bins, (331, 331))
    stages = list(only_stages("randaugment"))
    assert len(stages) == reference.num_ops
    for calls in stages:
        published = [their_call(op, reference.magnitude, space) for op in space]
        assert [our_call(calls[NAMES[op]]) for op in space] == published
        assert len(calls) == len(space)


def test_shipped_augmix_is_torchvisions_default():
    """Every op with every bin that torchvision draws, as often as there; and every depth."""
    reference, policy = AugMix(), resolve_policy("augmix").policy
    assert policy.mix == Mix(reference.mixture_width, reference.alpha)
    assert policy.interpolation == reference.interpolation.value
    assert reference.chain_depth == -1  # a depth of 1, 2 or 3, drawn for each chain
    assert [(len(sub.stages), sub.weight) for sub in policy.sub_policies] == [
        (1, 1.0),
        (2, 1.0),
        (3, 1.0),
    ]
    (stage,) = {stage for sub in policy.sub_policies for stage in sub.stages}
    assert stage.probability == 1.0
    published = Counter()
    for op, (bins, is_signed) in reference._augmentation_space(10, (331, 331)).items():
        assert is_signed == (len(signs(op)) == 2)
        for k in range(reference.severity):
            published[in_thousandths(*their_bin(op, k, bins))] += 1
    weights = {in_thousandths(*our_call(call)): call.weight for call in stage.choices}
    assert weights == published
    assert len(weights) == len(stage.choices)


def their_bin(op, k, bins):
    return op, (float(bins[k]) if bins.ndim else None)


def in_thousandths(op, magnitude):
    """Translations are cut to whole pixels; the test of all sizes shows that these are equal."""
    return op, (round(magnitude, 3) if "Translate" in op else magnitude)


def test_shipped_trivialaugment_spans_torchvisions_bins():
    """Torchvision draws one of 31 bins; ours are drawn from the range that the bins divide."""
    space = TrivialAugmentWide()._augmentation_space(31)
    (calls,) = only_stages("trivialaugment-wide")
    assert set(calls) == {NAMES[op] for op in space}
    for op, (bins, _) in space.items():
        call = calls[NAMES[op]]
        assert (call.low is None) == (bins.ndim == 0)
        if call.low is None:
            continue
        assert call.unit == ("px" if "translate" in call.op else call.unit)
        levels = np.linspace(call.low, call.high, len(bins))
        at_bins = (
            levels
            if "translate" in call.op
            else [their_magnitude(call.op, m, (32, 32)) for m in levels]
        )
        np.testing.assert_allclose(at_bins, bins.double().numpy(), rtol=1e-6, atol=1e-4)


FUNCTIONAL = {
    "flip_horizontal": (functional.hflip, [0.0]),
    "flip_vertical": (functional.vflip, [0.0]),
    "gray": (lambda image: functional.rgb_to_grayscale(image, len(image.getbands())), [1.0]),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("op", FUNCTIONAL)
def test_op_equals_torchvisions_function(op, mode):
    function, magnitudes = FUNCTIONAL[op]
    for size in SIZES:
        image = scene(size, mode)
        result = ours(image, [[(op, m)] for m in magnitudes])
        np.testing.assert_array_equal(result[0], np.asarray(function(image)))


@pytest.mark.parametrize("mode", MODES)
def test_scale_equals_torchvisions_affine(mode):
    for size, m in itertools.product(SIZES, [-1.0, -0.4, -0.1, 0.05, 0.4, 1.5]):
        image = scene(size, mode)
        factor = 1 + m if m >= 0 else 1 / (1 - m)
        nearest = InterpolationMode.NEAREST
        expected = functional.affine(image, 0.0, [0, 0], factor, [0.0], nearest)
        np.testing.assert_array_equal(ours(image, [[("scale", m)]])[0], np.asarray(expected))


def test_hue_is_within_one_level_of_torchvisions_tensor_path():
    # Pillow's HSV image, which torchvision's PIL path goes through, has 256 hues only.
    for size, m in itertools.product(SIZES, [-0.5, -0.1, 0.03, 0.1, 0.25]):
        image = scene(size, "RGB")
        expected = functional.adjust_hue(to_batch([image]), m)[0].permute(1, 2, 0)
        gap = ours(image, [[("hue", m)]])[0].astype(int) - expected.numpy()
        assert np.abs(gap).max() <= 1


@pytest.mark.parametrize("mode", MODES)
def test_gamma_is_within_one_level_of_torchvision(mode):
    # Ours rounds to the nearest level, Pillow's table drops fractions.
    for size, m in itertools.product(SIZES, [-1.0, -0.5, 0.2, 0.5, 2.0]):
        image = scene(size, mode)
        expected = functional.adjust_gamma(image, 1 + m if m >= 0 else 1 / (1 - m))
        gap = ours(image, [[("gamma", m)]])[0].astype(int) - np.asarray(expected)
        assert np.abs(gap).max() <= 1
