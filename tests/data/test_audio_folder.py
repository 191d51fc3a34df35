"""Folders of sound files: rates, channels and lengths become one; what is wrong is said."""

import sys
import tracemalloc

import numpy as np
import pytest
import soundfile

from policysearch.data.audio_file import resampled
from policysearch.data.audio_folder import KEPT_SECONDS, load_audio_folder
from policysearch.data.source import load_source
from policysearch.errors import DataError, MissingDependencyError

RATE = 8000


def tone(hertz=440.0, n=1600, rate=RATE, channels=1):
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(n) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Two classes of three clips each, 1,600 samples at 8 kHz; `write` adds and replaces."""
    root = tmp_path / "sounds"

    def write(name, samples=None, rate=RATE, **options):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(rate=rate) if samples is None else samples, rate, **options)
        return path

    for label, hertz in (("low", 300.0), ("high", 900.0)):
        for speaker in ("ann", "bob", "cyd"):
            write(f"{label}/{speaker}_0.wav", tone(hertz))
    return root, write


def problem_of(root, **options):
    with pytest.raises(DataError) as caught:
        load_audio_folder(root, **options)
    return str(caught.value)


def test_clips_come_as_floats_with_their_rate_and_classes(folder):
    root, _ = folder
    source = load_audio_folder(root)
    data = source.train
    assert data.modality == "audio"
    assert data.x.shape == (6, 1, 1600)
    assert data.x.dtype == np.float32
    assert data.sample_rate == RATE
    assert data.classes == ("high", "low")
    assert data.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.lengths.tolist() == [1600] * 6
    assert np.abs(data.x[3, 0] - tone(300.0)[:, 0]).max() < 1e-4  # 16 bits
    assert source.notices == ()
    assert source.test is None


def test_a_folder_of_sounds_is_known_by_its_files(folder):
    root, _ = folder
    assert load_source(root).train.modality == "audio"
    assert load_source(root, modality="audio").train.modality == "audio"


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("wav", {"subtype": "PCM_U8"}),
        ("wav", {"subtype": "PCM_24"}),
        ("wav", {"subtype": "FLOAT"}),
        ("wav", {"subtype": "DOUBLE"}),
        ("WAV", {}),
        ("flac", {}),
        ("ogg", {}),
    ],
)
def test_formats_and_depths_read_alike(folder, suffix, options):
    root, write = folder
    name = f"low/other.{suffix}"
    write(name, tone(300.0), format=suffix.upper(), **options)
    data = load_audio_folder(root).train
    row = data.names.index(name)
    kept = slice(200, 1400)  # Vorbis is lossy, most at the ends
    assert np.abs(data.x[row, 0, kept] - tone(300.0)[kept, 0]).max() < 0.05


def test_train_and_test_folders_are_splits(folder, tmp_path):
    _, write = folder
    for split in ("train", "test"):
        for label in ("a", "b"):
            write(f"../split/{split}/{label}/x.wav")
    source = load_audio_folder(tmp_path / "split")
    assert len(source.train) == len(source.test) == 2
    assert source.test.names == ("test/a/x.wav", "test/b/x.wav")


def test_groups_come_from_the_names(folder):
    root, _ = folder
    data = load_audio_folder(root, group_pattern=r"([a-z]+)_").train
    assert data.groups.tolist() == ["ann", "bob", "cyd"] * 2
    assert "match every clip" in problem_of(root, group_pattern=r"speaker(\d+)")


def test_shorter_clips_are_padded_with_silence(folder):
    root, write = folder
    write("low/short.wav", tone(300.0, 700))
    data = load_audio_folder(root).train
    row = data.names.index("low/short.wav")
    assert data.x.shape[2] == 1600
    assert data.lengths[row] == 700
    assert data.x[row, 0, 650:700].any()
    assert not data.x[row, 0, 700:].any()


def test_long_clips_are_cut_to_their_middle(folder):
    root, write = folder
    for label in ("low", "high"):
        for k in range(4):
            write(f"{label}/{k}.wav", np.linspace(-1, 1, 80_001))
    source = load_audio_folder(root)
    n = int(KEPT_SECONDS * RATE)
    assert source.train.x.shape == (14, 1, n)
    row = source.train.names.index("low/0.wav")
    assert abs(source.train.x[row].mean()) < 1e-4
    assert "8 of 14 clips are longer than 5 s: their middle is used." in source.notices


def test_one_very_long_clip_does_not_pad_all_others(folder):
    root, write = folder
    for k in range(40):
        write(f"low/{k}.wav")
    write("low/song.wav", tone(n=30_000))
    assert load_audio_folder(root).train.x.shape[2] <= 3200


def test_other_rates_are_resampled_and_it_is_said(folder):
    root, write = folder
    write("high/fast.wav", tone(900.0, 4410, 22_050), 22_050)
    write("low/slow.flac", tone(300.0, 2205, 11_025), 11_025)
    source = load_audio_folder(root)
    assert source.train.sample_rate == RATE
    for name, hertz in (("high/fast.wav", 900.0), ("low/slow.flac", 300.0)):
        row = source.train.names.index(name)
        assert source.train.lengths[row] == 1600
        middle = slice(100, 1500)  # filters meet silence at the ends
        assert np.abs(source.train.x[row, 0, middle] - tone(hertz)[middle, 0]).max() < 0.02
    (notice,) = source.notices
    assert notice == "2 of 8 clips were resampled to 8,000 Hz from 11,025, 22,050 Hz."


def test_high_rates_come_down_to_16_khz(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "s" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "s" / label / "x.wav", tone(n=4410, rate=44_100), 44_100)
    data = load_audio_folder(tmp_path / "s").train
    assert data.sample_rate == 16_000
    assert data.x.shape[2] == 1600


def test_resampling_folds_nothing_back():
    high = tone(7000.0, 16_000, 16_000).T
    assert np.abs(resampled(high, 16_000, 8000)[0, 100:-100]).max() < 0.01


def test_stereo_stays_stereo_where_all_clips_are_and_becomes_mono_where_some_are(folder):
    root, write = folder
    names = [str(path.relative_to(root)) for path in sorted(root.rglob("*.wav"))]
    both = np.concatenate([tone(300.0), tone(900.0)], axis=1)
    write("low/stereo.wav", both)
    mixed = load_audio_folder(root)
    assert mixed.train.x.shape[1] == 1
    row = mixed.train.names.index("low/stereo.wav")
    assert np.abs(mixed.train.x[row, 0] - both.mean(axis=1)).max() < 1e-4
    assert "1 of 7 clips have several channels, whose mean was taken." in mixed.notices
    for name in names:
        write(name, both)
    assert load_audio_folder(root).train.x.shape == (7, 2, 1600)


BAD = {
    "garbage": lambda path: path.write_bytes(b"RIFF but no sound"),
    "empty file": lambda path: path.write_bytes(b""),
    "no samples": lambda path: soundfile.write(path, np.zeros((0, 1)), RATE),
    "NaN": lambda path: soundfile.write(path, np.full(50, np.nan), RATE, subtype="FLOAT"),
    "infinity": lambda path: soundfile.write(path, np.full(50, np.inf), RATE, subtype="FLOAT"),
    "slow": lambda path: soundfile.write(path, tone(n=50), 50),
    "another format": lambda path: soundfile.write(path, tone(), RATE, format="AIFF"),
    "channels": lambda path: soundfile.write(path, tone(channels=20), RATE),
    "a picture": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)),
}
REASONS = {
    "garbage": "not a WAV, FLAC or OGG file, or damaged",
    "empty file": "not a WAV, FLAC or OGG file, or damaged",
    "no samples": "no samples in it",
    "NaN": "samples that are NaN or infinite",
    "infinity": "samples that are NaN or infinite",
    "slow": "a sample rate of 50 Hz, not 1,000 to 384,000",
    "another format": "AIFF, not WAV, FLAC or OGG",
    "channels": "20 channels, more than 16",
    "a picture": "not a WAV, FLAC or OGG file, or damaged",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_damaged_clip_is_named_with_the_reason_and_can_be_skipped(folder, kind):
    root, _ = folder
    BAD[kind](root / "low" / "bad.wav")
    text = problem_of(root)
    assert text.startswith("1 clip in ")
    assert f"low/bad.wav: {REASONS[kind]}" in text
    assert "--skip-bad" in text
    source = load_audio_folder(root, skip_bad=True)
    assert len(source.train) == 6
    assert any("low/bad.wav" in notice for notice in source.notices)


def test_a_flac_file_that_was_cut_off_is_damaged(folder):
    root, write = folder
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 20_000)
    path = write("low/cut.flac", noise)
    path.write_bytes(path.read_bytes()[:9000])
    assert "low/cut.flac: damaged" in problem_of(root)


def test_an_odd_rate_among_damaged_files_does_not_decide(folder):
    """The form is made from the headers of all files that have one."""
    root, write = folder
    write("low/nan.wav", np.full(8000, np.nan), 16_000, subtype="FLOAT")
    data = load_audio_folder(root, skip_bad=True).train
    assert data.sample_rate == RATE
    assert data.x.shape == (6, 1, 1600)


def test_a_class_of_nothing_but_damaged_clips_is_refused(folder):
    root, _ = folder
    for path in (root / "low").iterdir():
        path.write_bytes(b"nothing")
    assert "Every class must hold readable clips" in problem_of(root, skip_bad=True)


def test_messages_speak_of_clips(tmp_path, folder):
    root, _ = folder
    (root / "notes.txt").write_text("x")
    assert "files that are not WAV, FLAC or OGG clips were ignored" in " ".join(
        load_audio_folder(root).notices
    )
    (tmp_path / "none").mkdir()
    assert "no class folders with clips" in problem_of(tmp_path / "none")


def test_an_image_size_means_nothing_for_sounds(folder):
    root, _ = folder
    with pytest.raises(Exception, match="`image_size` is for images"):
        load_source(root, image_size=32)


def test_without_soundfile_the_extra_is_named(folder, monkeypatch):
    root, _ = folder
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'policysearch\[audio\]'"):
        load_audio_folder(root)


def test_a_long_recording_costs_no_more_than_the_seconds_kept(folder):
    root, write = folder
    for label in ("low", "high"):
        write(f"{label}/long.flac", np.zeros(900 * RATE, dtype=np.int16))
    tracemalloc.start()
    load_audio_folder(root)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6  # a quarter of an hour takes 29 MB
