"""`policysearch apply` on a folder of sounds."""

import numpy as np
import pytest
import soundfile

from policysearch import cli
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.policy_json import PolicyDocument, write_policy_file

RATE = 8000


@pytest.fixture
def louder(tmp_path):
    """A policy that makes everything 6 dB louder or softer."""
    policy = Policy((SubPolicy((Stage((OpCall("gain", 6, 6),)),)),), "audio", "audio-1")
    write_policy_file(tmp_path / "louder.json", PolicyDocument(policy))
    return tmp_path / "louder.json"


@pytest.fixture
def words(tmp_path):
    """Two classes with a WAV, a FLAC and a stereo file of 24 bits."""
    rng = np.random.default_rng(0)
    for label in ("no", "yes"):
        (tmp_path / "words" / label).mkdir(parents=True)
        root = tmp_path / "words" / label
        soundfile.write(root / "a.wav", rng.uniform(-0.3, 0.3, 900), RATE)
        soundfile.write(root / "b.flac", rng.uniform(-0.3, 0.3, 1200), 16_000)
        stereo = rng.uniform(-0.3, 0.3, (700, 2))
        soundfile.write(root / "c.wav", stereo, 44_100, subtype="PCM_24")
    return tmp_path / "words"


def apply(*words):
    return cli.main(["apply", *map(str, words)])


def test_sounds_keep_names_rate_depth_and_length(louder, words, tmp_path, capsys):
    out = tmp_path / "out"
    assert apply(louder, words, out, "--copies", 2) == 0
    assert "Wrote 12 clips" in capsys.readouterr().out
    for path in words.rglob("*.*"):
        before, rate = soundfile.read(path)
        for copy in range(2):
            name = f"{path.stem}.aug{copy}{path.suffix}"
            other = out / path.parent.relative_to(words) / name
            after, other_rate = soundfile.read(other)
            assert (other_rate, after.shape) == (rate, before.shape)
            assert soundfile.info(other).subtype == soundfile.info(path).subtype
            ratio = 10 ** (6 / 20)
            near = [np.abs(after - before * factor).max() for factor in (ratio, 1 / ratio)]
            assert min(near) < 1e-4


def test_the_same_call_writes_the_same_bytes(louder, words, tmp_path):
    for name in ("one", "two"):
        assert apply("audiomentations", words, tmp_path / name, "--seed", 3) == 0
    for path in (tmp_path / "one").rglob("*.wav"):
        assert (
            path.read_bytes()
            == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
        )


def test_damaged_sounds_are_named_before_anything_is_written(louder, words, tmp_path, capsys):
    (words / "no" / "bad.wav").write_bytes(b"RIFF")
    out = tmp_path / "out"
    assert apply(louder, words, out) == 2
    assert "no/bad.wav: not a WAV, FLAC or OGG file, or damaged" in capsys.readouterr().err
    assert not out.exists()
    assert apply(louder, words, out, "--skip-bad") == 0
    assert "1 clips were left out" in capsys.readouterr().err


def test_a_folder_without_sounds_says_so(louder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert apply(louder, tmp_path / "empty", tmp_path / "out") == 2
    assert "holds no WAV, FLAC or OGG clips" in capsys.readouterr().err
