"""The proxy of texts: embeddings of words, their sum and a few convolutions.

Made for two cores: a training on 500 sentences takes about a second. Words are those of the
training texts and their synonyms, so that what an operation puts in can be learned; all other
words are one unknown word. Nothing of it is known outside the training texts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from policysearch.company import Company
from policysearch.data.dataset import Dataset
from policysearch.draws import Drawn
from policysearch.ops.lexicon import FIRST_MARK, FIRST_WORD, Lexicon, Words
from policysearch.ops.text_kernels import TextKernels, count_words
from policysearch.ops.thesaurus import Thesaurus, shipped_thesaurus
from policysearch.policy import Policy
from policysearch.proxies.training import TorchProxy, TrainingConfig, check_device
from policysearch.seeding import derive_seed

#: Words that a filter spans.
KERNELS = (2, 3)
#: Rows of the embedding that stand for no word.
PADDING, UNKNOWN, FIRST_ROW = 0, 1, 2


@dataclass(frozen=True, slots=True)
class TextProxyConfig(TrainingConfig):
    """Hyper-parameters of the proxy of texts.

    Attributes:
      width: Length of an embedding.
      n_filters: Convolutions of each length.
      learning_rate: Peak of the one-cycle schedule (Adam).
      max_words: Words of a text that are read; the rest is cut off.
      thesaurus: Synonyms for operations; `None`: those that ship.
    """

    batch_size: int = 50
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    width: int = 64
    n_filters: int = 16
    max_words: int = 256
    thesaurus: Thesaurus | None = None

    def default_epochs(self, n_train: int) -> int:
        """Epochs of a full training: 30 for 500 texts, fewer for more (inverse square root)."""
        return int(min(60, max(5, round(30 * (500 / max(1, n_train)) ** 0.5))))

    def make(self, train: Dataset, policy: Policy, n_epochs: int, seed: int) -> TextProxy:
        """A training of the network (see `TextProxy`)."""
        return TextProxy(train, policy, n_epochs, seed, self)


def config_for(
    data: Dataset, device: str = "cpu", thesaurus: Thesaurus | None = None
) -> TextProxyConfig:
    """Sizes the proxy to the data: larger batches for more texts.

    Raises:
      InvalidValueError: When this torch cannot compute on the device.
    """
    check_device(device)
    batch_size = 50 if len(data) <= 2000 else 128
    return TextProxyConfig(batch_size=batch_size, device=device, thesaurus=thesaurus)


class TextNetwork(nn.Module):
    """A bag of words beside convolutions over two and three words.

    The bag is the sum of embeddings over the root of their number; of each convolution the largest
    value counts. Both go into one linear layer.

    Args:
      n_rows: Words, `PADDING` and `UNKNOWN` included.
      n_trained: Rows that the training texts have; the others begin at zero and say nothing until
        an operation puts their words in.
      seed: All weights come from it.

    References:
      Joulin et al., Bag of tricks for efficient text classification, 2017 (arXiv:1607.01759);
      Kim, Convolutional neural networks for sentence classification, 2014 (arXiv:1408.5882).
    """

    def __init__(
        self, n_rows: int, n_trained: int, n_classes: int, config: TextProxyConfig, seed: int
    ) -> None:
        super().__init__()
        width, n_filters = config.width, config.n_filters
        self.embedding = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Embedding, n_rows, width, padding_idx=PADDING
        )
        self.filters = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, width, sum(KERNELS) * n_filters
        )
        self.head = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, width + len(KERNELS) * n_filters, n_classes
        )
        self.n_filters = n_filters
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.embedding.weight.zero_()
            self.embedding.weight[FIRST_ROW:n_trained].normal_(0.0, 0.1, generator=rng)
            for module in (self.filters, self.head):
                module.weight.normal_(0.0, module.in_features**-0.5, generator=rng)
                module.bias.zero_()

    def forward(self, rows: Tensor) -> Tensor:
        """Logits `(n, n_classes)` of rows of the embedding `(n, L)`, padded at the end."""
        n_words = (rows != PADDING).sum(dim=1, keepdim=True).clamp_min(1)
        embedded = self.embedding(rows)
        bag = embedded.sum(dim=1) / n_words.sqrt()
        # A convolution as one product and sums of its shifted columns: twice as fast on a CPU.
        part = self.filters(F.pad(embedded, (0, 0, 1, 1))).split(self.n_filters, dim=2)
        two = part[0][:, :-1] + part[1][:, 1:]
        three = part[2][:, :-2] + part[3][:, 1:-1] + part[4][:, 2:]
        largest = [F.relu(found.amax(dim=1)) for found in (two, three)]
        logits: Tensor = self.head(torch.cat([bag, *largest], dim=1))
        return logits


class TextProxy(TorchProxy):
    """One training of the network on texts under a policy (see `TorchProxy`).

    Words, synonyms and their statistics are those of the training texts.
    """

    def __init__(
        self, train: Dataset, policy: Policy, n_epochs: int, seed: int, config: TextProxyConfig
    ) -> None:
        super().__init__(train, policy, n_epochs, seed, config)
        self._config = config
        self._lexicon = Lexicon(config.thesaurus or shipped_thesaurus())
        self._kernels = TextKernels(self._lexicon, count_words(train.x.tolist()))
        self._words = self._lexicon.encode(train.x.tolist()).words
        self._lexicon.keep()
        self._row_of, n_trained = embedding_rows(self._words, self._lexicon)
        self.network = TextNetwork(
            int(self._row_of.max()) + 1,
            n_trained,
            train.n_classes,
            config,
            derive_seed(seed, "weights"),
        ).to(self.device)

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam, which does not mind that most words are rare."""
        return torch.optim.Adam(
            self.network.parameters(),
            lr=self._config.learning_rate,
            weight_decay=self._config.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),  # a tenth of the time
        )

    def inputs(self, data: Dataset) -> Tensor:
        """Rows of the embedding, padded (see `TorchProxy`)."""
        return self._rows(self._lexicon.encode(data.x.tolist()).words)

    def augmented(
        self,
        data: Dataset,
        drawn: Drawn,
        policy: Policy,  # noqa: ARG002 -- draws say all
        company: Company | None = None,  # noqa: ARG002 -- texts have no operations in company
    ) -> Dataset:
        """Augmented texts (see `TorchProxy`)."""
        texts: NDArray[Any] = np.empty(len(data), dtype=object)
        texts[:] = self._kernels.apply(
            data.x.tolist(), drawn.ops, drawn.op_index, drawn.magnitude, drawn.extra
        )
        return replace(data, x=texts)

    def training_inputs(
        self,
        indices: NDArray[np.int64],
        drawn: Drawn,
        company: Company | None = None,  # noqa: ARG002 -- texts have no operations in company
    ) -> Tensor:
        """Augmented training texts as rows, without writing them (see `TorchProxy`)."""
        words = self._words.take(indices)
        if (drawn.op_index >= 0).any():
            words = self._kernels.edit(
                words, drawn.ops, drawn.op_index, drawn.magnitude, drawn.extra
            ).words
        return self._rows(words)

    def _rows(self, words: Words) -> Tensor:
        n_known = len(self._row_of)
        rows = self._row_of[np.minimum(words.ids, n_known - 1)]
        rows[words.ids >= n_known] = UNKNOWN
        counts = np.minimum(np.diff(words.edges), self._config.max_words)
        padded = np.full((len(words), max(1, int(counts.max(initial=0)))), PADDING, np.int64)
        is_there = np.arange(padded.shape[1]) < counts[:, None]
        inside = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        padded[is_there] = rows[np.repeat(words.edges[:-1], counts) + inside]
        return torch.from_numpy(padded).to(self.device)


def embedding_rows(words: Words, lexicon: Lexicon) -> tuple[NDArray[np.int64], int]:
    """Row of the embedding of each word of a lexicon, and how many rows training texts have.

    Words that differ in case share a row. The words of the training texts come first, then the
    marks and the synonyms of these words; all others are `UNKNOWN`.
    """
    own = {i: lexicon.texts[i].lower() for i in np.unique(words.ids).tolist()}
    rows = {word: FIRST_ROW + i for i, word in enumerate(sorted(set(own.values())))}
    n_trained = FIRST_ROW + len(rows)
    put_in = set(lexicon.texts[FIRST_MARK:FIRST_WORD])
    if lexicon.thesaurus is not None:
        for word in list(rows):
            put_in.update(synonym.lower() for synonym in lexicon.thesaurus.of(word))
    for word in sorted(put_in - rows.keys()):
        rows[word] = FIRST_ROW + len(rows)
    row_of = np.full(len(lexicon), UNKNOWN, np.int64)
    for word, row in rows.items():
        written = (word, word[:1].upper() + word[1:], word.upper())
        row_of[[i for i in map(lexicon.find, written) if i]] = row
    for i, word in own.items():
        row_of[i] = rows[word]
    return row_of, n_trained
