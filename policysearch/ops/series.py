"""The table of operations on time series, version `series-1`. Magnitudes are natural units.

Every operation commutes with an affine change of a channel, `a x + b` with `a > 0`: what is scaled
or flipped is the distance to the channel's mean, and noise is measured in the channel's own
standard deviation (unit `std`), both over the steps of the sample that are no padding and not
missing. A policy therefore means the same before and after normalisation, and a channel that is
constant stays so. Missing values are NaN: operations on values leave them missing, those on time
move them along. Time is resampled linearly, the same for all channels, which stay in step.

Sources: IU = Iwana & Uchida, An empirical survey of data augmentation for time series
classification with neural networks, 2021 (PLoS ONE 16(7): e0254841), and the defaults of its code,
uchidalab/time_series_augmentation; TS = tsaug 0.2.1; RT = Gao et al., RobustTAD, 2020
(arXiv:2002.09545).
"""

from __future__ import annotations

from policysearch.ops.spec import OpSpec

FRACTION = "fraction"

SERIES_OPS: tuple[OpSpec, ...] = (
    OpSpec("identity", "value", "Leaves the series as it is.", "the empty operation"),
    OpSpec(
        "jitter", "value", "Adds white noise with standard deviation m to every value.",
        "IU: 0.03; range to 0.1 is ours", units=("std",), high=0.1, maximum=10.0, n_draws=1,
    ),
    OpSpec(
        "scaling", "value", "Scales the distance to the mean by 1 + m or 1 / (1 + m).",
        "IU: normal with deviation 0.1; range to 0.3 is ours", units=(FRACTION,), high=0.3,
        maximum=10.0, is_signed=True,
    ),
    OpSpec(
        "magnitude_warp", "value",
        "Scales the distance to the mean by a smooth curve, exp of m times normal knots.",
        "IU: deviation 0.2, 4 knots; range to 0.4 is ours", units=(FRACTION,), high=0.4,
        maximum=3.0, n_draws=1,
    ),
    OpSpec(
        "drift", "value", "Adds a smooth random walk that reaches m at its farthest knot.",
        "TS: max_drift 0.5", units=("std",), high=0.5, maximum=10.0, n_draws=1,
    ),
    OpSpec(
        "frequency_noise", "value",
        "Turns the phase of each frequency by m times a normal number, and scales its amplitude "
        "by exp of another.",
        "RT (amplitude and phase perturbations); range to 0.3 is ours",
        units=("rad",), high=0.3, maximum=3.0, n_draws=2,
    ),
    OpSpec(
        "sign_flip", "value", "Mirrors all values at the mean of their channel.",
        "IU: rotation (flipping)", is_identity_at_low=False,
    ),
    OpSpec(
        "channel_dropout", "value",
        "Replaces each channel by its mean with chance m; one is always left.",
        "SpecAugment (arXiv:1904.08779) masks channels; range to 0.5 is ours", units=(FRACTION,),
        high=0.5, n_draws=1, min_channels=2,
    ),
    OpSpec(
        "time_mask", "value", "Replaces a stretch of m of the length by the mean.",
        "cutout (arXiv:1708.04552) in one dimension; range to 0.3 is ours", units=(FRACTION,),
        high=0.3, n_draws=1,
    ),
    OpSpec(
        "time_warp", "time",
        "Lets time run at a smoothly changing speed, exp of m times normal knots.",
        "IU: deviation 0.2, 4 knots; range to 0.4 is ours", units=(FRACTION,), high=0.4,
        maximum=3.0, n_draws=1,
    ),
    OpSpec(
        "window_slice", "time", "Cuts m of the length away and stretches the rest to full length.",
        "IU: 0.1 (reduce_ratio 0.9); range to 0.3 is ours", units=(FRACTION,), high=0.3,
        maximum=0.95, n_draws=1,
    ),
    OpSpec(
        "window_warp", "time", "Lets a stretch of m of the length run at half or double speed.",
        "IU: window_ratio 0.1, scales 0.5 and 2; range to 0.3 is ours", units=(FRACTION,),
        high=0.3, maximum=0.95, is_signed=True, n_draws=1,
    ),
    OpSpec(
        "permutation", "time", "Cuts the series into m equal segments and shuffles them.",
        "IU: up to 5 segments", units=("segments",), low=1.0, high=5.0, maximum=32.0, n_draws=1,
    ),
)  # fmt: skip
