"""The table of image operations, version `image-1`. Magnitudes are natural units.

Sources: AA = Cubuk et al., AutoAugment, 2019, table 6 (arXiv:1805.09501); RA = Cubuk et al.,
RandAugment, 2020 (arXiv:1909.13719); TA = Müller & Hutter, TrivialAugment, 2021, table 1, wide
ranges (arXiv:2103.10158); FAA = Lim et al., Fast AutoAugment, 2019 (arXiv:1905.00397).
Semantics of the classic operations are Pillow's, as torchvision applies them.
"""

from __future__ import annotations

from policysearch.ops.spec import OpSpec

FRACTION = "fraction"
FACTOR_SOURCE = "AA table 6: factor 0.1 to 1.9, so 1 ± 0.9; PIL ImageEnhance"

IMAGE_OPS: tuple[OpSpec, ...] = (
    OpSpec("identity", "color", "Leaves the image as it is.", "TA table 1"),
    OpSpec(
        "shear_x", "geometry", "Shears along x; the top row stays.", "AA table 6: 0.3",
        units=("ratio",), high=0.3, maximum=4.0, is_signed=True,
    ),
    OpSpec(
        "shear_y", "geometry", "Shears along y; the left column stays.", "AA table 6: 0.3",
        units=("ratio",), high=0.3, maximum=4.0, is_signed=True,
    ),
    OpSpec(
        "translate_x", "geometry", "Shifts along x by a fraction of the width, or by pixels.",
        "AA table 6: 150 of 331 px; FAA: 0.45", units=(FRACTION, "px"), high=0.45, is_signed=True,
    ),
    OpSpec(
        "translate_y", "geometry", "Shifts along y by a fraction of the height, or by pixels.",
        "AA table 6: 150 of 331 px; FAA: 0.45", units=(FRACTION, "px"), high=0.45, is_signed=True,
    ),
    OpSpec(
        "rotate", "geometry", "Rotates about the centre.", "AA table 6: 30 degrees",
        units=("deg",), high=30.0, maximum=180.0, is_signed=True,
    ),
    OpSpec(
        "scale", "geometry", "Enlarges by 1 + m or shrinks by 1 / (1 + m) about the centre.",
        "nnU-Net v2 default range 0.7 to 1.4", units=(FRACTION,), high=0.4, maximum=4.0,
        is_signed=True,
    ),
    OpSpec(
        "crop", "geometry", "Pads by a fraction of each side and crops back at a random place.",
        "He et al. 2016 (arXiv:1512.03385), section 4.2: 4 of 32 px; range to 0.25 is ours",
        units=(FRACTION,), high=0.25, n_draws=2,
    ),
    OpSpec(
        "flip_horizontal", "geometry", "Mirrors left and right.",
        "Krizhevsky et al. 2012, section 4.1", is_identity_at_low=False,
    ),
    OpSpec(
        "flip_vertical", "geometry", "Mirrors top and bottom.",
        "torchvision RandomVerticalFlip", is_identity_at_low=False,
    ),
    OpSpec(
        "brightness", "color", "Multiplies all values by 1 ± m.", FACTOR_SOURCE,
        units=(FRACTION,), high=0.9, maximum=1.0, is_signed=True,
    ),
    OpSpec(
        "contrast", "color", "Scales the distance to the mean gray by 1 ± m.", FACTOR_SOURCE,
        units=(FRACTION,), high=0.9, maximum=1.0, is_signed=True,
    ),
    OpSpec(
        "color", "color", "Scales saturation (distance to gray) by 1 ± m.", FACTOR_SOURCE,
        units=(FRACTION,), high=0.9, maximum=1.0, is_signed=True, min_channels=3,
    ),
    OpSpec(
        "hue", "color", "Turns the hue by a fraction of the full circle.",
        "torchvision ColorJitter: at most 0.5; 0.1 as in Chen et al., SimCLR, 2020, appendix A",
        units=("turn",), high=0.1, maximum=0.5, is_signed=True, min_channels=3,
    ),
    OpSpec(
        "gray", "color", "Blends all channels towards their gray value by m.",
        "SimCLR 2020, appendix A (random grayscale)", units=(FRACTION,), min_channels=3,
    ),
    OpSpec(
        "channel_shift", "color", "Adds an own offset of up to m of the range to each channel.",
        "albumentations RGBShift: 20 of 255", units=(FRACTION,), high=0.2, n_draws=16,
    ),
    OpSpec(
        "channel_shuffle", "color", "Puts the channels in a random other order.",
        "albumentations ChannelShuffle", is_identity_at_low=False, n_draws=1, min_channels=3,
    ),
    OpSpec(
        "sharpness", "filter", "Sharpens or smooths by 1 ± m.", FACTOR_SOURCE,
        units=(FRACTION,), high=0.9, maximum=1.0, is_signed=True,
    ),
    OpSpec(
        "blur", "filter", "Gaussian blur with standard deviation m.",
        "nnU-Net v2: 0.5 to 1 px; SimCLR 2020: to 2 px", units=("px",), high=2.0, maximum=8.0,
    ),
    OpSpec(
        "autocontrast", "color", "Stretches each channel to the full range.", "AA table 6",
        is_identity_at_low=False,
    ),
    OpSpec(
        "equalize", "color", "Equalizes the histogram of each channel.", "AA table 6",
        is_identity_at_low=False,
    ),
    OpSpec("invert", "color", "Inverts all values.", "AA table 6", is_identity_at_low=False),
    OpSpec(
        "posterize", "color", "Drops the lowest m bits of each value.",
        "AA table 6: keeps 4 to 8 bits", units=("bits",), high=4.0, maximum=8.0,
    ),
    OpSpec(
        "solarize", "color", "Inverts values at or above 256 - m.",
        "AA table 6: threshold 0 to 256", units=("levels",), high=256.0, maximum=256.0,
    ),
    OpSpec(
        "solarize_add", "color", "Adds m to values below 128.", "RA code: 0 to 110",
        units=("levels",), high=110.0, maximum=255.0,
    ),
    OpSpec(
        "gamma", "color", "Raises values to the power 1 + m or 1 / (1 + m).",
        "nnU-Net v2: 0.7 to 1.5", units=(FRACTION,), high=0.5, maximum=4.0, is_signed=True,
    ),
    OpSpec(
        "gaussian_noise", "filter", "Adds white noise with standard deviation m of the range.",
        "albumentations GaussNoise: to 0.44; nnU-Net v2: to 0.32; 0.2 is ours",
        units=(FRACTION,), high=0.2, maximum=1.0, n_draws=1,
    ),
    OpSpec(
        "cutout", "mask", "Fills a square with side m of the shorter side, at a random place.",
        "DeVries & Taylor 2017 (arXiv:1708.04552): 16 of 32 px", units=(FRACTION,), high=0.5,
        maximum=1.0, n_draws=2,
    ),
    OpSpec(
        "elastic", "geometry",
        "Bends the image: 3 x 3 points of a smooth lattice move by up to m of the shorter side.",
        "TorchIO RandomElasticDeformation; 0.08 never folds",
        units=(FRACTION,), high=0.08, maximum=0.5, n_draws=1,
    ),
    OpSpec(
        "bias_field", "medical", "Multiplies by exp of a cubic polynomial, coefficients up to m.",
        "TorchIO RandomBiasField: 0.5, order 3", units=(FRACTION,), high=0.5, maximum=2.0,
        n_draws=1,
    ),
    OpSpec(
        "ghosting", "medical", "Weakens every 4th to 10th frequency along one axis by m.",
        "TorchIO RandomGhosting: 4 to 10 ghosts, 0.5 to 1", units=(FRACTION,), high=0.8,
        n_draws=2,
    ),
    OpSpec(
        "motion", "medical", "Two movements during the scan: turns by up to m, shifts by m / 200.",
        "TorchIO RandomMotion: 10 degrees, 10 mm, 2 movements", units=("deg",), high=10.0,
        maximum=90.0, n_draws=2,
    ),
    OpSpec(
        "rician_noise", "medical", "Noise of magnitude images, standard deviation m of the range.",
        "MONAI RandRicianNoise; range to 0.1 is ours", units=(FRACTION,), high=0.1, maximum=1.0,
        n_draws=1,
    ),
    OpSpec(
        "low_resolution", "medical", "Takes m of the resolution away and interpolates.",
        "nnU-Net v2: zoom 0.5 to 1", units=(FRACTION,), high=0.5, maximum=0.9,
    ),
    OpSpec(
        "window_level", "medical", "Moves the window's level by up to m / 2, its width by 1 ± m.",
        "radiological windows; range to 0.3 is ours", units=(FRACTION,), high=0.3, maximum=1.0,
        n_draws=2,
    ),
    OpSpec(
        "gamma_retained", "medical", "Gamma of 1 + m or its inverse; mean and deviation stay.",
        "nnU-Net v2: 0.7 to 1.5, retain_stats", units=(FRACTION,), high=0.5, maximum=4.0,
        is_signed=True,
    ),
    OpSpec(
        "rotate_x", "geometry", "Turns a volume about its x axis: rows and slices change places.",
        "nnU-Net v2: 30 degrees about each axis", units=("deg",), high=30.0, maximum=180.0,
        is_signed=True, needs_depth=True,
    ),
    OpSpec(
        "rotate_y", "geometry",
        "Turns a volume about its y axis: columns and slices change places.",
        "nnU-Net v2: 30 degrees about each axis", units=("deg",), high=30.0, maximum=180.0,
        is_signed=True, needs_depth=True,
    ),
    OpSpec(
        "translate_z", "geometry", "Shifts a volume through its depth by a fraction of it.",
        "MONAI RandAffine, translate_range; 0.15 is ours", units=(FRACTION,), high=0.15,
        is_signed=True, needs_depth=True,
    ),
    OpSpec(
        "scale_z", "geometry", "Deepens a volume by 1 + m or flattens it by 1 / (1 + m).",
        "nnU-Net v2: 0.7 to 1.4, axes apart", units=(FRACTION,), high=0.4, maximum=4.0,
        is_signed=True, needs_depth=True,
    ),
    OpSpec(
        "flip_depth", "geometry", "Mirrors the first and the last slice.",
        "nnU-Net v2, mirroring of all axes", is_identity_at_low=False, needs_depth=True,
    ),
    OpSpec(
        "elastic_3d", "geometry",
        "Bends a volume: 3 x 3 x 3 points of a smooth lattice move by up to m of each side.",
        "TorchIO RandomElasticDeformation; 0.067 never folds", units=(FRACTION,), high=0.06,
        maximum=0.5, n_draws=1, needs_depth=True,
    ),
)  # fmt: skip
