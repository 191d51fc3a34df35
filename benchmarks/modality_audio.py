"""Sound in the table of modalities: the peer's operations beside ours, and the spoken digits.

Clips per second of every operation, 64 clips of one second at 8 kHz, one thread, every clip with a
draw of its own, drawing included; audiomentations takes the clips one by one, as it is made to.
Both take turns (see interleaved.py). Ranges are the defaults of audiomentations, which ours are.

    python benchmarks/modality_audio.py            # some minutes; wants an idle machine
    python benchmarks/modality_audio.py --quick    # tests the script, claims nothing

audiomentations is no dependency; without it there is nothing to compare with, and it is said so.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleaved import Spread, interleaved
from machine import machine

from policysearch.files import json_text, write_atomic
from policysearch.ops.registry import op_table
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.transform import load_policy

RESULT = Path(__file__).parent / "results" / "modality_audio.json"
N_CLIPS, N_SAMPLES, RATE = 64, 8000, 8000
#: The peer's class for each operation, with what it needs beyond its defaults.
PEERS = {
    "gain": ("Gain", {}),
    "polarity": ("PolarityInversion", {}),
    "tanh_distortion": ("TanhDistortion", {}),
    "bitcrush": ("BitCrush", {}),
    "shift": ("Shift", {}),
    "time_mask": ("TimeMask", {}),
    "tempo": ("TimeStretch", {}),
    "pitch": ("PitchShift", {}),
    "freq_mask": ("BandStopFilter", {}),  # the nearest: it has no mask on the mel scale
    "low_pass": ("LowPassFilter", {"max_cutoff_freq": 3900.0}),
    "high_pass": ("HighPassFilter", {}),
    "reverb": ("ApplyImpulseResponse", {"ir_path": "FOLDER"}),
    "noise_snr": ("AddGaussianSNR", {}),
    "color_noise_snr": ("AddColorNoise", {}),
    "background_mix": ("AddBackgroundNoise", {"sounds_path": "FOLDER"}),
}


def clips() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Harmonics that swell and fade, `(64, 8000)`."""
    rng = np.random.default_rng(0)
    time = np.arange(N_SAMPLES) / RATE
    tones = rng.uniform(90, 250, (N_CLIPS, 1, 1)) * np.arange(1, 13)[:, None]
    x = (np.sin(2 * np.pi * tones * time) / np.arange(1, 13)[:, None]).sum(axis=1)
    x *= np.sin(np.pi * time) ** 2
    return (0.5 * x / np.abs(x).max()).astype(np.float32)


def ours(op: str, x: torch.Tensor) -> Callable[[], object]:
    """One operation over its whole range on a batch."""
    spec = op_table("audio")[op]
    ends = sorted((spec.low, spec.high)) if spec.has_magnitude else (None, None)
    policy = Policy((SubPolicy((Stage((OpCall(op, *ends),)),)),), "audio", "audio-1")
    transform = load_policy(policy, sample_rate=RATE)
    return lambda: transform(x)


def theirs(op: str, x: np.ndarray[Any, Any], folder: Path) -> Callable[[], object]:
    """The peer's operation on the clips one by one."""
    import audiomentations

    name, options = PEERS[op]
    known = {key: str(folder) if value == "FOLDER" else value for key, value in options.items()}
    transform = getattr(audiomentations, name)(p=1.0, **known)
    return lambda: [transform(samples=clip, sample_rate=RATE) for clip in x]


def throughput(n_rounds: int, seconds: float) -> dict[str, Any]:
    """Clips per second of each operation, both sides, and the seconds of a pass over all."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the peer warns of clips that leave -1 to 1
    x = clips()
    batch = torch.from_numpy(x)[:, None]
    rows, totals = {}, {"policysearch": 0.0, "audiomentations": 0.0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_sounds(folder)
        for op in op_table("audio"):
            if op == "identity":
                continue
            calls = {"policysearch": ours(op, batch)}
            if op in PEERS and _version("audiomentations"):
                calls["audiomentations"] = theirs(op, x, folder)
            taken = {
                who: Spread.of([N_CLIPS / s for s in times])
                for who, times in interleaved(calls, n_rounds, seconds).items()
            }
            rows[op] = {who: spread.to_dict(0) for who, spread in taken.items()}
            if len(taken) == 2:
                for who, spread in taken.items():
                    totals[who] += N_CLIPS / spread.median
            print(f"{op:16}", *(f"{who} {s.median:,.0f}/s" for who, s in taken.items()))
    return {"clips_per_second": rows, "seconds_of_all_shared": totals}


def _write_sounds(folder: Path) -> None:
    """A few decaying noises, which serve as impulse responses and as backgrounds."""
    import soundfile

    rng = np.random.default_rng(1)
    for k in range(4):
        noise = rng.normal(0, 0.2, 2 * RATE) * np.exp(-6.9 * np.arange(2 * RATE) / (0.4 * RATE))
        soundfile.write(folder / f"{k}.wav", noise.clip(-1, 1), RATE)


def unpack_digits(archive: Path, folder: Path) -> list[str]:
    """Unpacks the Free Spoken Digit Dataset; gives the words of a search with speakers apart."""
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return [str(folder / "fsdd"), "--group-pattern", "_([a-z]+)_", "--train-size", "100"]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> None:
    """Measures and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="Test the script; write nothing.")
    options = parser.parse_args()
    if not _version("audiomentations"):
        print("audiomentations is not installed: our side alone.", file=sys.stderr)
    result = throughput(*((2, 0.0) if options.quick else (7, 0.5)))
    print(json.dumps(result["seconds_of_all_shared"]))
    if options.quick:
        return
    versions = {
        name: _version(name) for name in ("audiomentations", "torch", "numpy", "policysearch")
    }
    described = {
        "command": "python benchmarks/modality_audio.py",
        "machine": machine() | {"load_average": round(os.getloadavg()[0], 1)},
        "versions": versions,
        "clips": {"n": N_CLIPS, "samples": N_SAMPLES, "sample_rate": RATE, "threads": 1},
    }
    write_atomic(RESULT, json_text(described | result))


if __name__ == "__main__":
    main()
