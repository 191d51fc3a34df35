"""What a proxy is told beside the data: files of the user's that operations read from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from policysearch.config import SearchConfig
from policysearch.data.dataset import Dataset
from policysearch.errors import InvalidValueError


def proxy_extras(config: SearchConfig, train: Dataset) -> tuple[dict[str, Any], dict[str, str]]:
    """Arguments for `config_for` of the proxy, and what identifies the files they come from.

    Raises:
      InvalidValueError: For a file that means nothing for this kind of data.
      PolicySearchError: When a file cannot be read; the text says why.
    """
    for name, modality in (("thesaurus", "text"), ("background", "audio")):
        value = getattr(config, name)
        if value is not None and train.modality != modality:
            raise InvalidValueError(
                f"`{name}` is for {modality} data, got {value!r} for {train.modality} data. "
                "Leave it out."
            )
    if config.thesaurus is not None:
        from policysearch.ops.thesaurus import load_thesaurus

        thesaurus = load_thesaurus(config.thesaurus)
        return {"thesaurus": thesaurus}, {"thesaurus": thesaurus.digest}
    if config.background is not None:
        import torch

        from policysearch.data.noise_folder import load_noise_folder
        from policysearch.ops.audio_clips import Clips

        x, lengths = load_noise_folder(
            Path(config.background), train.sample_rate or 0, train.n_channels
        )
        digest = hashlib.sha256(x.tobytes() + lengths.tobytes()).hexdigest()[:16]
        return {"background": Clips(torch.from_numpy(x), lengths)}, {"background": digest}
    return {}, {}
