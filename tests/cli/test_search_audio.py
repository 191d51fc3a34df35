"""A folder of sounds from the command line: searched, told in words, loaded."""

import json

import numpy as np
import pytest
import soundfile
import torch

import policysearch
from policysearch import cli

RATE = 4000


@pytest.fixture
def whistles(tmp_path):
    """Two classes of short whistles by four speakers, low and high."""
    rng = np.random.default_rng(0)
    for label, hertz in (("low", 300), ("high", 900)):
        (tmp_path / "whistles" / label).mkdir(parents=True)
        for k in range(16):
            n = int(rng.integers(500, 900))
            wave = 0.3 * np.sin(2 * np.pi * hertz * rng.uniform(0.8, 1.25) * np.arange(n) / RATE)
            name = f"speaker{k % 4}_{k}.wav"
            wave += rng.normal(0, 0.02, n)
            soundfile.write(tmp_path / "whistles" / label / name, wave, RATE)
    return tmp_path / "whistles"


def test_a_folder_of_sounds_ends_in_a_verdict_and_a_policy_that_loads(whistles, tmp_path, capsys):
    out = tmp_path / "run"
    words = ["search", str(whistles), "--group-pattern", r"speaker(\d)", "--out", str(out)]
    few = ["--trials", "8", "--epochs", "1", "--candidates", "1", "--confirm-seeds", "1"]
    few += ["--verdict-seeds", "2", "--workers", "1", "--val-share", "0.25"]
    few += ["--search-anyway"]  # so short a training learns nothing that could be raised
    assert cli.main([*words, *few]) == 0
    verdict = json.loads((out / "verdict.json").read_text())
    names = {arm["name"] for arm in verdict["arms"]}
    assert {"none", "default", "audiomentations", "uniformaugment", "random", "found"} <= names
    written = json.loads((out / "policy.json").read_text())
    assert written["modality"] == "audio"
    assert written["ops_version"] == "audio-1"
    transform = policysearch.load_policy(out, sample_rate=RATE)
    assert transform(torch.zeros(2, 1, 700)).shape == (2, 1, 700)
    capsys.readouterr()
    assert cli.main(["show", str(out)]) == 0
    assert "clip" in capsys.readouterr().out


def test_arrays_are_no_sound_and_what_is_is_said(tmp_path, capsys):
    x = np.zeros((4, 1, 50), dtype=np.float32)
    np.savez(tmp_path / "x.npz", x_train=x, y_train=[0, 1, 0, 1])
    words = ["compare", str(tmp_path / "x.npz"), "none", "default", "--modality", "audio"]
    assert cli.main([*words, "--out", str(tmp_path / "c")]) == 2
    assert "Give a folder of WAV, FLAC or OGG files by class" in capsys.readouterr().err


def test_policies_for_images_are_refused_before_training(whistles, tmp_path, capsys):
    words = ["compare", str(whistles), "none", "autoaugment-cifar10", "--out", str(tmp_path / "c")]
    assert cli.main(words) == 2
    assert "is for image data, but these are audio data" in capsys.readouterr().err


def test_a_shipped_policy_is_told_in_decibels_and_semitones(capsys):
    assert cli.main(["show", "audiomentations"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "white noise at a signal-to-noise ratio of 40 dB down to 5 dB" in out
    assert "up to 4 semitones" in out
