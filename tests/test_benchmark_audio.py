"""The benchmark of audio operations measures all of them, with or without the peer."""

from pathlib import Path

import pytest

from policysearch.ops.registry import op_table

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_every_operation_is_measured_and_peers_are_of_operations_we_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import modality_audio

    names = set(op_table("audio")) - {"identity"}
    assert set(modality_audio.PEERS) <= names
    monkeypatch.setattr(modality_audio, "_version", lambda _: None)  # our side alone
    monkeypatch.setattr(modality_audio, "N_CLIPS", 2)
    rows = modality_audio.throughput(1, 0.0)["clips_per_second"]
    assert set(rows) == names
    assert all(row["policysearch"]["median"] > 0 for row in rows.values())
