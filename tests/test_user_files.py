"""Files of the user's that operations read from: synonyms, and recordings to mix in."""

import numpy as np
import pytest

from policysearch.config import make_config
from policysearch.data.noise_folder import load_noise_folder
from policysearch.errors import DataError, InvalidValueError
from policysearch.problems.dataset import DatasetProblem

soundfile = pytest.importorskip("soundfile")


def _silent(_event):
    pass


def problem(data, **settings):
    return DatasetProblem(make_config({"data": str(data), **settings}), _silent)


def test_a_thesaurus_of_ones_own_is_searched_with(tmp_path):
    table = tmp_path / "x.csv"
    rows = [f"a film of sort {i},{'ab'[i % 2]}" for i in range(40)]
    table.write_text("text,label\n" + "\n".join(rows))
    mine = tmp_path / "mine.tsv"
    mine.write_text("film\tflick\n")
    found = problem(table, thesaurus=str(mine))
    assert list(found._proxy.thesaurus.of("film")) == ["flick"]
    shipped = problem(table)
    assert "thesaurus" not in shipped.header()
    first = found.header()["thesaurus"]
    mine.write_text("film\tmovie\n")
    assert problem(table, thesaurus=str(mine)).header()["thesaurus"] != first
    with pytest.raises(InvalidValueError, match="`thesaurus` is for text data"):
        problem("wine", thesaurus=str(mine))


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12):
        path = tmp_path / "clips" / "ab"[i % 2] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.normal(0, 0.1, 800), 8000)
    return tmp_path / "clips"


def test_recordings_of_ones_own_are_mixed_in(clips, tmp_path):
    noise = tmp_path / "noise"
    (noise / "deep").mkdir(parents=True)
    t = np.arange(16000) / 16000
    soundfile.write(noise / "hum.wav", 0.5 * np.sin(2 * np.pi * 100 * t), 16000)
    soundfile.write(noise / "deep" / "two.flac", np.zeros((400, 2)), 8000)
    found = problem(clips, background=str(noise))
    background = found._proxy.background
    assert background.lengths.tolist() == [400, 8000]
    spectrum = np.abs(np.fft.rfft(background.x[1, 0].numpy()))
    assert spectrum.argmax() == 100, "brought to the rate of the clips"
    assert "background" in found.header()
    with pytest.raises(InvalidValueError, match="`background` is for audio data"):
        problem("wine", background=str(noise))


def test_folders_without_recordings_or_with_damaged_ones_are_told(tmp_path):
    with pytest.raises(DataError, match=r"must be a folder of recordings, .* is none"):
        load_noise_folder(tmp_path / "missing", 8000, 1)
    with pytest.raises(DataError, match=r"must hold 1 to 10,000 .* holds 0"):
        load_noise_folder(tmp_path, 8000, 1)
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"cannot be read:\n  x.wav: not a WAV, FLAC or OGG"):
        load_noise_folder(tmp_path, 8000, 1)
