"""Search a policy for a training of your own: a function of a policy and a trial.

From this file:       python examples/train_function.py
Or by name:           policysearch search examples/train_function.py:train --objective function
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import policysearch

N_EPOCHS, BATCH = 30, 25


def digits(rung: str) -> tuple[torch.Tensor, ...]:
    """100 images to train on, and what to measure on: test images in the verdict only."""
    data = load_digits()
    x = torch.from_numpy(data.images * (255 / 16)).to(torch.uint8)[:, None]
    y = torch.from_numpy(data.target)
    held_out = slice(1000, None) if rung == "verdict" else slice(100, 1000)
    return x[:100], y[:100], x[held_out], y[held_out]


def train(policy: policysearch.PolicyTransform, trial: policysearch.TrainingTrial) -> float:
    """Trains a small network under a policy; returns its accuracy."""
    torch.manual_seed(trial.seed)
    x, y, x_held_out, y_held_out = digits(trial.rung)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 8 * 8, 10)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    accuracy = 0.0
    for epoch in range(N_EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            augmented = policy(x[batch])  # every image its own draw
            loss = F.cross_entropy(network(augmented / 255), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = (network(x_held_out / 255).argmax(1) == y_held_out).float().mean().item()
        trial.report(epoch, accuracy)
        if trial.should_prune():
            raise policysearch.TrialPruned
    return accuracy


if __name__ == "__main__":
    result = policysearch.search(train, objective="function", trials=60)
    print(result.verdict["sentence"])
    print(f"The policy: {result.path}/policy.json")
