"""Operations on whole batches: targets say what was mixed, models stay as they were."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import policysearch
from policysearch.company import Company
from policysearch.draws import Drawer
from policysearch.errors import FormatError, InvalidValueError
from policysearch.ops.company import COMPANY_OPS
from policysearch.ops.registry import all_ops, op_table
from policysearch.policy import Mix, OpCall, Policy, Stage, SubPolicy
from policysearch.transform import PolicyTransform, apply_drawn

CASES = [(modality, spec.name) for modality, specs in COMPANY_OPS.items() for spec in specs]
MIXING = [(m, n) for m, n in CASES if all_ops(m)[n].family == "mixing"]
OPTIONS = {"audio": {"sample_rate": 8000}}
N_CLASSES = 5


def policy_of(modality, *calls):
    stages = tuple(Stage((call,)) for call in calls)
    return Policy((SubPolicy(stages),), modality, f"{modality}-1")


def at(modality, name, level):
    magnitude = round(all_ops(modality)[name].magnitude(level), 6)
    return OpCall(name, magnitude, magnitude)


def plain(modality):
    names = {"image": "rotate", "audio": "gain", "series": "jitter", "tabular": "gaussian_noise"}
    return at(modality, names[modality], 0.5)


def samples(modality, n=6, seed=0):
    """Every sample has one value throughout, its place: what was mixed can be read off it."""
    value = torch.arange(n) / 10
    shape = {"image": (2, 12, 9), "audio": (1, 400), "series": (2, 30), "tabular": (4,)}[modality]
    return value.view(-1, *[1] * len(shape)).expand(n, *shape).clone()


def waves(modality, n=6):
    x = samples(modality, n)
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    return 0.2 + noise / 2


def model_for(modality):
    size = waves(modality, 1)[0].numel()
    torch_seed = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(size), nn.Dropout(0.5))
    head = nn.Linear(size, N_CLASSES)
    nn.init.normal_(head.weight, generator=torch_seed)
    nn.init.zeros_(head.bias)
    return nn.Sequential(net, head)


def transform_of(policy, **options):
    made = OPTIONS.get(policy.modality, {})
    return policysearch.load_policy(policy, n_classes=N_CLASSES, **made, **options)


def applied(policy, x, y, **options):
    transform = transform_of(policy, **options)
    if policy.modality != "audio":
        transform.fit(waves(policy.modality, 20), torch.arange(20) % N_CLASSES)
    needs_model = any(all_ops(policy.modality)[c.op].needs_model for _, c in policy.calls())
    return transform(x, y, model=model_for(policy.modality) if needs_model else None)


@pytest.mark.parametrize(("modality", "name"), CASES)
def test_contract(modality, name):
    spec = all_ops(modality)[name]
    policy = policy_of(modality, plain(modality), at(modality, name, 0.7))
    x, y = waves(modality), torch.arange(6) % N_CLASSES
    before = x.clone()
    out, targets = applied(policy, x, y)
    assert torch.equal(x, before), "the input was changed"
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    assert out.isfinite().all()
    if spec.changes_targets:
        assert targets.dtype == torch.float32
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
    else:
        assert torch.equal(targets, y)
    again, again_targets = applied(policy, x, y)
    assert torch.equal(out, again), "not a function of seed and samples"
    assert torch.equal(targets, again_targets)
    assert not torch.equal(applied(policy, x, y, seed=1)[0], out)


@pytest.mark.parametrize(("modality", "name"), CASES)
def test_the_weakest_is_the_identity_where_declared(modality, name):
    x, y = waves(modality), torch.arange(6) % N_CLASSES
    out, targets = applied(policy_of(modality, at(modality, name, 0.0)), x, y)
    assert torch.equal(out, x) == all_ops(modality)[name].is_identity_at_low
    hard = targets.argmax(dim=1) if targets.ndim == 2 else targets
    assert torch.equal(hard, y)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize(("modality", "name"), CASES)
def test_tiny_batches(modality, name, n):
    x, y = waves(modality, n), torch.arange(n)
    out, targets = applied(policy_of(modality, at(modality, name, 1.0)), x, y)
    assert out.shape == x.shape
    if name in ("mixup", "cutmix", "fmix") and n == 1:  # alone, a sample stays as it is
        torch.testing.assert_close(out, x)
        assert targets[0, 0] == 1


@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("modality", "name"), MIXING)
def test_shares_of_targets_are_those_of_the_values(modality, name, level):
    x, y = samples(modality), torch.arange(6) % N_CLASSES
    y[5] = 0  # two samples of one class
    out, targets = applied(policy_of(modality, at(modality, name, level)), x, y)
    for i in range(6):
        partners = [j for j in range(6) if j != i and targets[i, y[j]] > 0 and y[j] != y[i]]
        mean = out[i].double().mean().item()
        if partners:
            share = targets[i, y[partners[0]]].item()
            expected = [(1 - share) * x[i].mean() + share * x[j].mean() for j in partners]
            assert min(abs(mean - float(e)) for e in expected) < 1e-5
        else:
            assert targets[i, y[i]] == 1


def test_bytes_are_rounded_and_volumes_are_mixed():
    x = torch.arange(0, 240, 40, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 1, 8, 8).clone()
    y = torch.arange(6) % N_CLASSES
    for name in ("mixup", "cutmix", "resizemix", "fmix"):
        policy = policy_of("image", at("image", name, 0.5))
        out, _ = transform_of(policy)(x, y)
        assert out.dtype == torch.uint8
        volume = x.float().div(255)[:, :, None].expand(6, 1, 3, 8, 8)
        deep, shared = transform_of(policy)(volume, y)
        assert deep.shape == volume.shape
        torch.testing.assert_close(shared.sum(dim=1), torch.ones(6))


def test_series_are_mixed_within_their_lengths():
    x = samples("series")
    x[2, :, 3] = float("nan")
    lengths = np.array([30, 10, 30, 20, 5, 30])
    policy = policy_of("series", at("series", "mixup", 1.0))
    out, targets = transform_of(policy)(x, np.arange(6) % 5, lengths=lengths)
    for i, length in enumerate(lengths):
        assert torch.equal(out[i, :, length:], x[i, :, length:]), "padding was changed"
    assert out[2].isnan().sum() == 2
    assert targets.sum(axis=1) == pytest.approx(1)
    assert targets.max(axis=1).min() < 0.9


def test_targets_of_series_follow_the_steps_that_were_mixed():
    x, y = samples("series"), torch.arange(6)
    lengths = np.array([30, 10, 30, 20, 5, 30])
    policy = policy_of("series", at("series", "mixup", 1.0))
    out, targets = policysearch.load_policy(policy, n_classes=6)(x, y, lengths=lengths)
    for i, length in enumerate(lengths):
        mean = out[i, :, :length].double().mean()
        torch.testing.assert_close(mean, (targets[i].double() * y / 10).sum(), atol=1e-5, rtol=0)
    assert targets.diagonal().max() > 0.6, "a short partner must count for less"


def test_categories_are_taken_from_one_of_both():
    transform = policysearch.load_policy(
        policy_of("tabular", at("tabular", "mixup", 1.0)), categorical=[1], n_classes=2
    )
    x = torch.stack([torch.arange(40) / 4, torch.arange(40) % 7], dim=1).double()
    out, _ = transform(x, torch.arange(40) % 2)
    assert set(out[:, 1].tolist()) <= set(x[:, 1].tolist())
    assert not torch.equal(out[:, 1], x[:, 1])


@pytest.mark.parametrize("name", ["fgsm", "pgd", "hardest_of_k"])
def test_the_model_is_left_as_it_was(name):
    model = model_for("image").train()
    model[0][1].eval()  # a frozen part stays frozen
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    policy = policy_of("image", plain("image"), at("image", name, 1.0))
    transform_of(policy)(waves("image"), torch.arange(6) % N_CLASSES, model=model)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
    assert [part.training for part in model.modules()] == [True, True, True, False, True, True]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all((p.grad == 2).all() for p in model.parameters())


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
@pytest.mark.parametrize("modality", ["image", "series", "audio"])
def test_attacks_raise_the_loss_within_their_bound(modality, name):
    x, y, model = waves(modality), torch.arange(6) % N_CLASSES, model_for(modality).eval()
    policy = policy_of(modality, at(modality, name, 1.0))
    out, _ = transform_of(policy)(x, y, model=model)
    bound = all_ops(modality)[name].high * (
        x.std(dim=-1, correction=0, keepdim=True) if modality == "series" else 1.0
    )
    assert ((out - x).abs() <= bound + 1e-6).all()
    loss = nn.functional.cross_entropy
    assert loss(model(out), y) > loss(model(x), y) + 0.01


def test_the_hardest_version_is_kept_but_for_outliers():
    x, y, model = waves("image", 40), torch.arange(40) % N_CLASSES, model_for("image").eval()
    once, _ = transform_of(policy_of("image", plain("image")))(x, y)
    policy = policy_of("image", plain("image"), at("image", "hardest_of_k", 1.0))
    hard, _ = transform_of(policy)(x, y, model=model)
    loss = nn.functional.cross_entropy
    assert loss(model(hard), y) > loss(model(once), y) + 0.01
    assert not torch.equal(hard, once)


def test_versions_that_have_lost_their_class_are_not_kept():
    x, y = torch.full((200, 1, 4, 4), 0.1), torch.zeros(200, dtype=torch.int64)
    rarely = Stage((OpCall("invert"),), 0.02)  # such a version has by far the highest loss
    keep = Stage((at("image", "hardest_of_k", 1.0),))

    def n_bright(*stages):
        policy = Policy((SubPolicy(stages),), "image", "image-1")
        transform = policysearch.load_policy(policy, n_classes=2)
        out, _ = transform(
            x, y, model=lambda z: torch.stack([-9 * z.mean((1, 2, 3))] * 2, 1) * tilt
        )
        return int((out.mean(dim=(1, 2, 3)) > 0.5).sum())

    tilt = torch.tensor([1.0, -1.0])
    assert n_bright(rarely) > 0
    assert n_bright(rarely, keep) == 0


def test_what_is_missing_is_named():
    policy = policy_of("image", at("image", "mixup", 1.0), at("image", "pgd", 1.0))
    transform = policysearch.load_policy(policy)
    x, y = waves("image"), torch.arange(6) % N_CLASSES
    with pytest.raises(InvalidValueError, match=r"needs the targets.*needs the model"):
        transform(x)
    with pytest.raises(InvalidValueError, match=r"n_classes=10"):
        transform(x, y)
    with pytest.raises(InvalidValueError, match=r"in \[0, 2\], got 0 to 4"):
        policysearch.load_policy(policy, n_classes=3)(x, y)
    with pytest.raises(InvalidValueError, match=r"model=model"):
        policysearch.load_policy(policy, n_classes=5)(x, y)
    with pytest.raises(InvalidValueError, match=r"collate_fn=policysearch\.collate"):
        policysearch.load_policy("mixup").each([x[0]], [0], [0])
    for wrong in (torch.ones(6, 5), torch.full((6, 5), math.nan)):
        with pytest.raises(InvalidValueError, match=r"sum 1"):
            transform(x, wrong)
    with pytest.raises(InvalidValueError, match=r"shares of 5 classes.*got 7 columns"):
        policysearch.load_policy(policy, n_classes=5)(x, torch.full((6, 7), 1 / 7))
    with pytest.raises(InvalidValueError, match=r"transform\(x, y, model=model\)"):
        policysearch.AugmentedDataset([(x[0], 0)], transform)[0]
    mixed = Policy(policy.sub_policies, "image", "image-1", mix=Mix(2, 1.0))
    with pytest.raises(FormatError, match="'mixup' works on whole batches"):
        PolicyTransform(mixed)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (lambda x: x.mean((2, 3)), r"logits of shape \(6, 5\).*got \(6, 2\)"),
        (lambda x: (x,), "got tuple"),
        (lambda x: torch.zeros(len(x), 5), "gradients through"),
        (3, "must be callable"),
    ],
)
def test_a_model_of_another_kind_is_refused(model, text):
    policy = policy_of("image", at("image", "fgsm", 1.0))
    with pytest.raises(InvalidValueError, match=text):
        transform_of(policy)(waves("image"), torch.arange(6) % N_CLASSES, model=model)


@pytest.mark.parametrize("y", [["a"] * 6, torch.arange(5), torch.zeros(6), None])
def test_targets_of_another_kind_are_refused(y):
    with pytest.raises(InvalidValueError):
        transform_of(policy_of("image", at("image", "mixup", 1.0)))(waves("image"), y)
    with pytest.raises(InvalidValueError, match="whole number above 0"):
        policysearch.load_policy("mixup", n_classes=0)


def test_evaluation_changes_nothing():
    transform = transform_of(policy_of("image", at("image", "mixup", 1.0))).eval()
    x, y = waves("image"), torch.arange(6) % N_CLASSES
    out, targets = transform(x, y)
    assert out is x
    assert targets is y


@pytest.mark.parametrize("n_stages", [1, 3])
def test_half_of_the_samples_stay_real_and_what_is_made_is_of_the_class(n_stages):
    y = torch.arange(200) % 2
    x = (0.2 + 0.5 * y.view(-1, 1, 1, 1) + 0.1 * waves("image", 200)).clamp(0, 1)
    policy = policy_of("image", *[at("image", "synthesize", 0.5)] * n_stages)
    transform = policysearch.load_policy(policy, n_classes=2)
    out, same = transform.fit(x, y)(x, y)
    is_new = (out != x).flatten(1).any(dim=1)
    assert 0.37 < is_new.float().mean() < 0.63
    assert torch.equal(same, y)
    assert torch.equal(out.mean(dim=(1, 2, 3)) > 0.5, y == 1)


def test_an_exported_generator_is_used_and_a_missing_one_is_named(tmp_path):
    from policysearch.generators.files import save_generator

    x, y = waves("image", 40), torch.arange(40) % N_CLASSES
    policy = policy_of("image", at("image", "synthesize", 0.5), at("image", "latent_mix", 1.0))
    with pytest.raises(InvalidValueError, match=r"transform\.fit\(x, y\)"):
        transform_of(policy)(x, y)
    fitted = transform_of(policy).fit(x, y)
    save_generator(fitted.generator, tmp_path / "made.safetensors")
    loaded = transform_of(policy, generator=tmp_path / "made.safetensors")
    assert torch.equal(fitted(x, y)[0], loaded(x, y)[0])
    with pytest.raises(InvalidValueError, match="shape"):
        loaded(x[:, :, :8], y)


def test_mixing_stays_within_each_batch():
    x, policy = samples("image"), policy_of("image", at("image", "mixup", 1.0))
    company = Company(torch.eye(6), sizes=(3, 1, 2))
    apply_drawn(x, Drawer(policy, 0).draw(np.arange(6)), policy, company=company)
    block = torch.block_diag(torch.ones(3, 3), torch.ones(1, 1), torch.ones(2, 2))
    assert (company.targets[block == 0] == 0).all()
    assert (company.targets.diagonal()[:3] < 1).all()


def test_a_replay_gives_the_same_again():
    policy = policy_of("image", plain("image"), at("image", "cutmix", 0.8))
    transform, x, y = transform_of(policy), waves("image"), torch.arange(6) % N_CLASSES
    out, targets = transform(x, y, index=range(6), epoch=3)
    again, same = transform.replay(x, transform.draw(range(6), 3), y=y)
    assert torch.equal(out, again)
    assert torch.equal(targets, same)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_collate_in_a_loader(n_workers):
    data = [(waves("image", 1)[0], i % 2, f"name {i}") for i in range(8)]
    collate = policysearch.collate("cutmix", n_classes=2)
    loader = torch.utils.data.DataLoader(
        data, batch_size=4, collate_fn=collate, num_workers=n_workers
    )
    for x, y, names in loader:
        assert x.shape == (4, 2, 12, 9)
        assert y.shape == (4, 2)
        assert len(names) == 4


def test_collate_refuses_what_needs_the_model():
    with pytest.raises(InvalidValueError, match="training loop"):
        policysearch.collate(policy_of("image", at("image", "fgsm", 1.0)), n_classes=2)
    with pytest.raises(InvalidValueError, match=r"tuples \(x, y"):
        policysearch.collate("mixup", n_classes=2)([torch.zeros(1, 4, 4)])


def test_names_do_not_meet():
    for modality, specs in COMPANY_OPS.items():
        assert not {spec.name for spec in specs} & set(op_table(modality))


def test_embeddings_of_texts_are_rows_or_series():
    tokens, y = torch.randn(8, 16, 20), torch.arange(8) % 3
    lengths = torch.tensor([20, 5, 7, 9, 20, 3, 8, 12])
    x, shares = policysearch.load_policy("mixup-series", n_classes=3)(tokens, y, lengths=lengths)
    for i, n in enumerate(lengths):
        assert torch.equal(x[i, :, n:], tokens[i, :, n:])
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(8))
    rows = tokens.mean(dim=2)
    mixed, shares = policysearch.load_policy("mixup-tabular", n_classes=8)(rows, torch.arange(8))
    torch.testing.assert_close(mixed, shares @ rows)  # the classes name the partners


@pytest.mark.parametrize("name", [spec.name for spec in COMPANY_OPS["image"]])
def test_16_bit_images(name):
    x = (waves("image") * 65535).clamp(0, 65535).to(torch.uint16)
    y = torch.arange(6) % N_CLASSES
    policy = policy_of("image", plain("image"), at("image", name, 0.7))
    transform = transform_of(policy).fit(x, y)
    out, _ = transform(x, y, model=model_for("image"))
    assert (out.shape, out.dtype) == (x.shape, torch.uint16)
    as_float = transform_of(policy).fit(x, y)
    as_float.generator = transform.generator
    expected, _ = as_float(x.float() / 65535, y, model=model_for("image"))
    near = (out.float() / 65535 - expected.clamp(0, 1)).abs() < 2e-4
    assert near.float().mean() > 0.9


@pytest.mark.parametrize("name", ["fgsm", "pgd", "hardest_of_k"])
def test_a_model_that_has_diverged_is_named(name):
    policy = policy_of("image", plain("image"), at("image", name, 1.0))
    x, y = waves("image"), torch.arange(6) % N_CLASSES
    with pytest.raises(InvalidValueError, match="NaN or infinite logits"):
        transform_of(policy)(
            x, y, model=lambda z: z.mean((1, 2, 3))[:, None] * torch.full((1, N_CLASSES), math.nan)
        )


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
@pytest.mark.parametrize("modality", ["audio", "series"])
def test_attacks_leave_padding_alone(modality, name):
    x, y, model = waves(modality), torch.arange(6) % N_CLASSES, model_for(modality)
    lengths = torch.tensor([x.shape[2] - 3 * i for i in range(6)])
    transform = transform_of(policy_of(modality, at(modality, name, 1.0)))
    out, _ = transform(x, y, lengths=lengths, model=lambda z, _: model(z))
    for i, n in enumerate(lengths):
        assert torch.equal(out[i, :, n:], x[i, :, n:])
        assert not torch.equal(out[i, :, :n], x[i, :, :n])
