"""Trains a small PyTorch classifier of sentences without and with a policy on the strings.

    python examples/train_text.py
    python examples/train_text.py --policy aeda
    python examples/train_text.py --policy runs/reviews-1/policy.json --data reviews.csv

The policy changes strings, so it stands before any tokenizer: in the `collate_fn` of a loader, as
here, or in the `map` or `set_transform` of a dataset of Hugging Face. The lines that bring it in
are marked with (1), (2) and (3).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import zlib

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import policysearch

Row = tuple[str, int]
N_ROWS = 2**14  # words are hashed to so many embeddings


def made_up_reviews() -> list[Row]:
    """Short reviews of things, praising ones with label 1 and complaining ones with label 0."""
    things = ("camera", "movie", "phone", "hotel", "book", "meal", "song", "player")
    praise = ("is great", "works well", "was a pleasure", "is worth every cent")
    blame = ("is awful", "broke at once", "was a waste", "is not worth a cent")
    ends = ("for me", "in my opinion", "all in all", "and my family agrees")
    rows = [
        (f"the {thing} {said} {end}", label)
        for label, phrases in ((1, praise), (0, blame))
        for thing, said, end in itertools.product(things, phrases, ends)
    ]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    return [rows[i] for i in order]


def read_reviews(path: str) -> list[Row]:
    """Rows of a CSV file with the columns `text` and `label`, whole numbers from 0."""
    with open(path, encoding="utf-8", newline="") as file:
        return [(row["text"], int(row["label"])) for row in csv.DictReader(file)]


def tokenize(texts: list[str]) -> tuple[Tensor, Tensor]:
    """Hashed words of all texts, and where each text begins: what an `EmbeddingBag` reads."""
    words = [[zlib.crc32(word.encode()) % N_ROWS for word in text.split()] for text in texts]
    starts = list(itertools.accumulate([0, *map(len, words)]))[:-1]
    flat = list(itertools.chain.from_iterable(words))
    return torch.tensor(flat, dtype=torch.int64), torch.tensor(starts)


class Bag(nn.Module):
    """The mean of word embeddings and a linear layer."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(N_ROWS, 32)
        self.head = nn.Linear(32, n_classes)

    def forward(self, words: Tensor, starts: Tensor) -> Tensor:
        """Logits `(n, n_classes)`."""
        result: Tensor = self.head(self.bag(words, starts))
        return result


def train(rows: list[Row], policy: str, args: argparse.Namespace) -> Bag:
    """An ordinary training; the policy changes the strings of each batch afresh."""
    torch.manual_seed(args.seed)
    transform = policysearch.load_policy(policy, seed=args.seed)  # (1)
    transform.fit([text for text, _ in rows])  # (2) for operations that learn from the texts

    def collate(batch: list[Row]) -> tuple[Tensor, Tensor, Tensor]:
        texts = transform([text for text, _ in batch])  # (3)
        return *tokenize(texts), torch.tensor([label for _, label in batch])

    order = torch.Generator().manual_seed(args.seed)
    loader = DataLoader(rows, 16, shuffle=True, generator=order, collate_fn=collate)
    model = Bag(1 + max(label for _, label in rows))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(args.epochs):
        for words, starts, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(words, starts), labels).backward()
            optimizer.step()
    return model


def accuracy(model: Bag, rows: list[Row]) -> float:
    """Share of texts whose class is found."""
    with torch.no_grad():
        found = model(*tokenize([text for text, _ in rows])).argmax(dim=1)
    return (found == torch.tensor([label for _, label in rows])).float().mean().item()


def main() -> None:
    """Trains twice and prints both test accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="eda", help="file, run directory or shipped name")
    parser.add_argument("--data", help="CSV file with text,label; made-up reviews without it")
    parser.add_argument("--train-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = read_reviews(args.data) if args.data else made_up_reviews()
    train_rows, test_rows = rows[: args.train_size], rows[args.train_size :]
    for name in ("none", args.policy):
        model = train(train_rows, name, args)
        print(f"{name}: {accuracy(model, test_rows):.1%}")


if __name__ == "__main__":
    main()
