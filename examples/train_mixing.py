"""A policy that mixes images and asks the model in training, in an ordinary training loop.

Mixing happens in the loader, on whole batches; the attack in the loop, where the model is. Targets
become shares of classes, which the cross-entropy takes as they are.

Run with: python examples/train_mixing.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import policysearch
from policysearch import OpCall, Policy, Stage, SubPolicy


def main(epochs: int = 6) -> float:
    """Trains a small network on the digits; returns its accuracy on those it has not seen."""
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.from_numpy(digits.images / 16).float()[:, None]
    y = torch.from_numpy(digits.target)
    data, n_train = TensorDataset(x, y), 1500

    mix = policysearch.collate("cutmix", n_classes=10, seed=0)  # or a policy.json
    loader = DataLoader(
        torch.utils.data.Subset(data, range(n_train)), 50, shuffle=True, collate_fn=mix
    )
    some = Stage((OpCall("fgsm", 0.0, 0.03),), probability=0.3)
    attack = policysearch.PolicyTransform(Policy((SubPolicy((some,)),)), seed=0)

    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 16, 10),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        model.train()
        for images, shares in loader:
            attacked, shares = attack(images, shares, model=model)
            loss = nn.functional.cross_entropy(model(attacked), shares)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    with torch.no_grad():
        is_right = model.eval()(x[n_train:]).argmax(dim=1) == y[n_train:]
    accuracy = is_right.float().mean().item()
    print(f"{accuracy:.1%} of {len(is_right)} digits")
    return accuracy


if __name__ == "__main__":
    main()
