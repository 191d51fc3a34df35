"""The audio proxy: log-mel spectrograms and a small convolutional network.

Made for two cores: a training on 100 clips of one second takes some seconds. Spectrograms are
normalised with mean and deviation of each band over the training clips; padding is zero after
that, and is kept out of every layer but the statistics of batch normalisation.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from policysearch.company import Company, apply_in_company
from policysearch.data.dataset import Dataset
from policysearch.draws import Drawn
from policysearch.errors import InvalidValueError
from policysearch.modalities.audio import MODALITY
from policysearch.modalities.base import Batch
from policysearch.ops.audio_clips import AudioSettings, Clips
from policysearch.policy import Policy
from policysearch.proxies.mel import frame_sizes, log_mel, n_frames
from policysearch.proxies.training import TorchProxy, TrainingConfig, check_device
from policysearch.seeding import derive_seed

#: Clips whose spectrograms are made in one go.
_CLIPS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class AudioProxyConfig(TrainingConfig):
    """Hyper-parameters of the audio proxy.

    Attributes:
      width: Channels of the first layer; the next ones have two and four times as many.
      n_mels: Bands of the spectrogram.
      background: Recordings that `background_mix` adds; `None`: the training clips.
    """

    width: int = 12
    n_mels: int = 40
    background: Clips | None = None

    def default_epochs(self, n_train: int) -> int:
        """Epochs of a full training: 100 up to 100 clips, fewer for more (inverse square root)."""
        return int(min(100, max(20, round(100 * (100 / max(1, n_train)) ** 0.5))))

    def make(self, train: Dataset, policy: Policy, n_epochs: int, seed: int) -> AudioProxy:
        """A training of the network (see `AudioProxy`)."""
        return AudioProxy(train, policy, n_epochs, seed, self)


def config_for(
    data: Dataset, device: str = "cpu", background: Clips | None = None
) -> AudioProxyConfig:
    """Sizes the proxy to the data: at least four steps an epoch, batches of 64 at most.

    Raises:
      InvalidValueError: When this torch cannot compute on the device.
    """
    check_device(device)
    batch_size = min(64, max(8, len(data) // 4))
    return AudioProxyConfig(batch_size=batch_size, device=device, background=background)


class AudioNetwork(nn.Module):
    """Four 3x3 convolutions, halved after each of the first three, the mean, a linear layer.

    Args:
      n_classes: Outputs.
      width: Channels of the first layer.
      seed: All weights come from it (He initialisation).
    """

    def __init__(self, n_classes: int, width: int, seed: int) -> None:
        super().__init__()
        sizes = (1, width, 2 * width, 4 * width, 4 * width)
        self.convolutions = nn.ModuleList(
            nn.utils.skip_init(  # type: ignore[no-untyped-call]
                nn.Conv2d, sizes[i], sizes[i + 1], 3, padding=1, bias=False
            )
            for i in range(4)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in sizes[1:])
        self.head = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, sizes[-1], n_classes
        )
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for module in (*self.convolutions, self.head):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=rng)
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(n, n_classes)` of normalised spectrograms `(n, n_mels + 1, n_frames)`.

        The last row is 1 at frames that are there and 0 in padding.
        """
        longest = int(x[:, -1].sum(dim=1).max())
        x = x[..., :longest]  # padding of a whole batch is not computed
        # Channels last: convolutions take two thirds of the time on a CPU.
        values = x[:, None, :-1].contiguous(memory_format=torch.channels_last)
        is_there = x[:, None, -1:]
        for i, (convolve, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            values = F.relu(norm(convolve(values))) * is_there
            if i < 3:
                values = F.max_pool2d(values, 2, ceil_mode=True)
                is_there = F.max_pool2d(is_there, (1, 2), ceil_mode=True)
        mean = values.mean(dim=2).sum(dim=2) / is_there.sum(dim=(2, 3))
        logits: Tensor = self.head(mean)
        return logits


class AudioProxy(TorchProxy):
    """One training of the network on clips under a policy (see `TorchProxy`).

    `background_mix` adds the recordings of the settings, or the training clips, which are no
    other in the batch than elsewhere.
    """

    def __init__(
        self, train: Dataset, policy: Policy, n_epochs: int, seed: int, config: AudioProxyConfig
    ) -> None:
        super().__init__(train, policy, n_epochs, seed, config)
        if train.sample_rate is None:
            raise InvalidValueError("A dataset of clips must have a `sample_rate`.")
        self._rate = train.sample_rate
        self._n_mels = config.n_mels
        background = config.background or Clips(_tensor(train.x), _lengths(train))
        self._settings = AudioSettings(self._rate, background)
        self._mean, self._std = self._statistics(train)
        self._clean = self.inputs(train)
        self.network = AudioNetwork(train.n_classes, config.width, derive_seed(seed, "weights"))
        self.network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def inputs(self, data: Dataset) -> Tensor:
        """Normalised spectrograms with a last row that marks padding (see `TorchProxy`)."""
        is_there = self._frames_there(data.x.shape[2], torch.from_numpy(_lengths(data)))
        parts = [(part - self._mean) / self._std for part in self._spectrograms(data, self.device)]
        return torch.cat([torch.cat(parts) * is_there, is_there], dim=1)

    def answer(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of clips as they are (see `TorchProxy`)."""
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[2])
        is_there = self._frames_there(x.shape[2], lengths)
        normal = (log_mel(x, self._rate, self._n_mels) - self._mean) / self._std * is_there
        return self.logits(torch.cat([normal, is_there], dim=1))

    def augmented(
        self, data: Dataset, drawn: Drawn, policy: Policy, company: Company | None = None
    ) -> Dataset:
        """Augmented clips, some of them longer or shorter (see `TorchProxy`)."""
        x = _tensor(data.x)
        x = x if company is None else x.to(self.device)
        batch = Batch(x, _lengths(data), None, self._settings)
        if drawn.mix is not None:
            return dataclasses.replace(data, x=MODALITY.apply(batch, drawn, policy).numpy())
        if company is None:
            batch = MODALITY.after(batch, drawn, policy)
        else:
            batch = apply_in_company(MODALITY, batch, drawn, policy, company)
        assert batch.lengths is not None
        return dataclasses.replace(
            data, x=batch.x.cpu().numpy(), lengths=np.maximum(batch.lengths, 1)
        )

    def training_inputs(
        self, indices: NDArray[np.int64], drawn: Drawn, company: Company | None = None
    ) -> Tensor:
        """Spectrograms of augmented clips; those of others are there (see `TorchProxy`)."""
        if company is not None:  # partners have to be there as well
            return super().training_inputs(indices, drawn, company)
        is_changed = (drawn.op_index >= 0).any(axis=1)
        x = self._clean[torch.from_numpy(indices).to(self.device)]
        rows = is_changed.nonzero()[0]
        if len(rows):
            changed = self._train.take(indices[rows])
            augmented = self.augmented(changed, drawn.take(rows), self._policy)
            x[torch.from_numpy(rows).to(self.device)] = self.inputs(augmented)
        return x

    def _spectrograms(self, data: Dataset, device: torch.device) -> list[Tensor]:
        x = _tensor(data.x)
        # Frames of many clips at once leave the cache: parts are twice as fast.
        return [
            log_mel(part.to(device), self._rate, self._n_mels)
            for part in torch.split(x, _CLIPS_AT_ONCE)
        ]

    def _frames_there(self, n_steps: int, lengths: Tensor) -> Tensor:
        """Marks frames whose middle lies in the clip: `(n, 1, n_frames)`."""
        hop = frame_sizes(self._rate)[1]
        count = ((lengths - 1) // hop + 1).to(self.device)
        frames = torch.arange(n_frames(n_steps, self._rate), device=self.device)
        return (frames < count[:, None, None]).to(torch.float32)

    def _statistics(self, train: Dataset) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each band over all frames, `(n_mels, 1)` each."""
        is_there = self._frames_there(train.x.shape[2], torch.from_numpy(_lengths(train)))
        count = is_there.sum()
        spectrograms = torch.cat(self._spectrograms(train, self.device))
        mean = (spectrograms * is_there).sum(dim=(0, 2)) / count
        squares = ((spectrograms - mean[:, None]) * is_there).square().sum(dim=(0, 2))
        return mean[:, None], (squares / count).sqrt().clamp_min(1e-3)[:, None]


def _tensor(x: NDArray[np.float32]) -> Tensor:
    """The array as a tensor, without a copy where its memory may be written to."""
    return torch.from_numpy(np.require(x, requirements=["C", "W"]))


def _lengths(data: Dataset) -> NDArray[np.int64]:
    if data.lengths is not None:
        return data.lengths
    return np.full(len(data), data.x.shape[2], dtype=np.int64)
