"""Volumes per second of operations on volumes beside TorchIO's, one thread, in one process.

    pip install torchio
    python benchmarks/modality_volumes.py

Eight volumes of 48 x 48 x 48 floats. Ours takes them as a batch, TorchIO one by one, as its users
do; each volume has magnitudes and draws of its own, drawn in the call by both. The operations are
the nearest ones that TorchIO has; what moves in the plane of each slice with us moves in it with
TorchIO where it can be told so.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from interleaved import Spread, interleaved
from machine import machine

from policysearch.ops.registry import op_table
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.run import now
from policysearch.transform import PolicyTransform

RESULT = Path(__file__).parent / "results" / "modality_volumes.json"
N, SIDE = 8, 48
#: Our operations, and the transform of TorchIO that is nearest to all of them together.
PAIRS: dict[str, tuple[tuple[str, ...], str, dict[str, Any]]] = {
    "affine": (
        ("rotate", "rotate_x", "rotate_y", "scale", "scale_z", "translate_z"),
        "RandomAffine",
        {"scales": (0.7, 1.4), "degrees": 30, "translation": (0, 0, 0, 0, -7, 7)},
    ),
    "elastic": (
        ("elastic_3d",),
        "RandomElasticDeformation",
        {"num_control_points": 7, "max_displacement": 3.0, "locked_borders": 2},
    ),
    "affine and elastic, resampled once": (
        ("rotate", "rotate_x", "rotate_y", "scale", "elastic_3d"),
        "RandomAffineElasticDeformation",
        {
            "affine_kwargs": {"scales": (0.7, 1.4), "degrees": 30},
            "elastic_kwargs": {"num_control_points": 7, "max_displacement": 3.0},
        },
    ),
    "flip": (("flip_depth",), "RandomFlip", {"axes": 0, "flip_probability": 1.0}),
    "bias field": (("bias_field",), "RandomBiasField", {"coefficients": 0.5, "order": 3}),
    "ghosting": (("ghosting",), "RandomGhosting", {"axes": (1, 2), "intensity": (0.0, 0.8)}),
    "motion": (("motion",), "RandomMotion", {"degrees": 10, "num_transforms": 2}),
    "noise": (("gaussian_noise",), "RandomNoise", {"std": (0, 0.1)}),
    "blur": (("blur",), "RandomBlur", {"std": (0, 0, 0, 1.5, 0, 1.5)}),
    "gamma": (("gamma_retained",), "RandomGamma", {"log_gamma": 0.4}),
    "resolution": (("low_resolution",), "RandomAnisotropy", {"axes": 1, "downsampling": (1, 2)}),
}


def ours(ops: tuple[str, ...], x: torch.Tensor) -> Callable[[], Any]:
    """One stage for each operation, its magnitude drawn up to its level 1."""
    specs = [op_table("image")[name] for name in ops]
    stages = tuple(
        Stage(
            (
                OpCall(spec.name, spec.low, spec.high, unit=spec.unit)
                if spec.has_magnitude
                else OpCall(spec.name),
            )
        )
        for spec in specs
    )
    transform = PolicyTransform(Policy((SubPolicy(stages),), interpolation="bilinear"), seed=0)
    return lambda: transform(x)


def theirs(name: str, arguments: dict[str, Any], x: torch.Tensor) -> Callable[[], Any]:
    """The transform on every volume."""
    import torchio

    transform = getattr(torchio, name)(**arguments)
    images = [torchio.ScalarImage(tensor=volume) for volume in x]
    return lambda: [transform(image) for image in images]


def main() -> None:
    """Measures, prints a table and writes the result."""
    import torchio

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one short round; writes nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.random((N, 1, SIDE, SIDE, SIDE), dtype=np.float32))
    calls: dict[str, Callable[[], Any]] = {}
    for what, (ops, name, arguments) in PAIRS.items():
        calls[f"{what}/ours"] = ours(ops, x)
        calls[f"{what}/torchio"] = theirs(name, arguments, x)
    taken = interleaved(calls, 1 if args.quick else args.rounds, 0.01 if args.quick else 0.3)
    rows = {}
    for what, (ops, name, _) in PAIRS.items():
        mine, peer = (taken[f"{what}/{who}"] for who in ("ours", "torchio"))
        ratio = Spread.of([b / a for a, b in zip(mine, peer, strict=True)])
        rows[what] = {
            "ours": {"ops": ops, **Spread.of([N / t for t in mine]).to_dict(1)},
            "torchio": {"transform": name, **Spread.of([N / t for t in peer]).to_dict(1)},
            "ratio": ratio.to_dict(2),
        }
        print(
            f"{what:36} {rows[what]['ours']['median']:9,.1f} "
            f"{rows[what]['torchio']['median']:9,.1f} {rows[what]['ratio']['median']:7.2f} x"
        )
    result = {
        "claim": "volumes per second of operations beside TorchIO's, one thread",
        "command": "python benchmarks/modality_volumes.py",
        "date": now(),
        "volumes": [N, 1, SIDE, SIDE, SIDE],
        "machine": machine(),
        "torchio": torchio.__version__,
        "volumes_per_second": rows,
    }
    if not args.quick:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
