"""Operations for which a sample alone is not enough: it is mixed, attacked, or made anew.

They are members of the same tables as all others, by kind of data, and stand in the same policies.
They see whole batches (`policysearch.company`): mixing takes a partner from the batch and shares
the target with it, adversarial operations ask the model that is being trained, generative ones a
generator that was fitted to the training samples.

Sources: mixup = Zhang et al., 2018 (arXiv:1710.09412); CutMix = Yun et al., 2019
(arXiv:1905.04899); ResizeMix = Qin et al., 2020 (arXiv:2012.11101); FMix = Harris et al., 2020
(arXiv:2002.12047); FGSM = Goodfellow et al., 2015 (arXiv:1412.6572); PGD = Madry et al., 2018
(arXiv:1706.06083); AdvAA = Zhang et al., Adversarial AutoAugment, 2020 (arXiv:1912.11188);
DeVries & Taylor, Dataset augmentation in feature space, 2017 (arXiv:1702.05538).
"""

from __future__ import annotations

from collections.abc import Mapping

from policysearch.ops.spec import OpSpec

FRACTION = "fraction"


def _mixing(name: str, summary: str, source: str, n_draws: int) -> OpSpec:
    return OpSpec(
        name, "mixing", summary, source, units=(FRACTION,), high=0.5, maximum=0.5,
        n_draws=n_draws, needs_batch=True, changes_targets=True,
    )  # fmt: skip


_MIXUP = _mixing(
    "mixup",
    "Adds m of another sample of the batch to 1 - m of this one, and so with the targets.",
    "mixup, equation 1; the share is drawn evenly, to a half",
    1,
)


#: Chance that a sample may be replaced by `synthesize` at all, however many stages have it.
MAX_SYNTHETIC = 0.5


def _adversarial(unit: str, high: float, maximum: float) -> tuple[OpSpec, ...]:
    return (
        OpSpec(
            "fgsm", "adversarial", "Moves every value by m, to where the loss of the model grows.",
            "FGSM, section 4", units=(unit,), high=high, maximum=maximum, needs_labels=True,
            needs_model=True,
        ),
        OpSpec(
            "pgd", "adversarial",
            "Moves every value by up to m in three steps from a random start, so that the loss "
            "grows.",
            "PGD, section 2.1; three steps are ours", units=(unit,), high=high, maximum=maximum,
            n_draws=1, needs_labels=True, needs_model=True,
        ),
        OpSpec(
            "hardest_of_k", "adversarial",
            "Draws the operations before it m times and keeps the version with the highest loss, "
            "up to the 95 % quantile of the batch.",
            "AdvAA, section 3, without a controller; the bound is ours", units=("versions",),
            low=1.0, high=4.0, maximum=8.0, minimum=1.0, n_draws=1, needs_batch=True,
            needs_labels=True, needs_model=True,
        ),
    )  # fmt: skip


def _generative(*, has_latent_mix: bool) -> tuple[OpSpec, ...]:
    synthesize = OpSpec(
        "synthesize", "generative",
        "Makes another sample of the class, at temperature m; for half of the samples on average.",
        "DeVries & Taylor; that synthetic samples stay the smaller part is ours",
        units=("temperature",), n_draws=2, is_identity_at_low=False, needs_labels=True,
        needs_fit=True,
    )  # fmt: skip
    latent_mix = OpSpec(
        "latent_mix", "generative",
        "Goes m of the way to another sample of the class and batch in latent space, or away.",
        "DeVries & Taylor, section 3.2: 0.5", units=(FRACTION,), high=0.5, maximum=1.0,
        is_signed=True, n_draws=1, needs_batch=True, needs_labels=True, needs_fit=True,
    )  # fmt: skip
    return (synthesize, latent_mix) if has_latent_mix else (synthesize,)


#: By kind of data. On text only embeddings could be mixed, which a policy does not see.
COMPANY_OPS: Mapping[str, tuple[OpSpec, ...]] = {
    "image": (
        _MIXUP,
        _mixing(
            "cutmix", "Pastes a rectangle of m of the area from another image at its place.",
            "CutMix, section 3.1; wholly inside the image", 3,
        ),
        _mixing(
            "resizemix", "Pastes another image, made small to m of the area, at a random place.",
            "ResizeMix, section 3.2: scale 0.1 to 0.8; area to a half is ours", 3,
        ),
        _mixing(
            "fmix", "Takes m of the pixels from another image, in patches with cloudy borders.",
            "FMix, section 4: decay 3", 2,
        ),
        *_adversarial(FRACTION, 0.03, 1.0),
        *_generative(has_latent_mix=True),
    ),
    # Not `hardest_of_k`: versions of a clip differ in length.
    "audio": (_MIXUP, *_adversarial(FRACTION, 0.01, 1.0)[:2]),
    "series": (_MIXUP, *_adversarial("std", 0.1, 10.0), *_generative(has_latent_mix=True)),
    "text": (),
    "tabular": (_MIXUP, *_generative(has_latent_mix=False)),
}  # fmt: skip
