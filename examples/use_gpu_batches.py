"""A policy on whole batches, on the device of the model, in an ordinary training loop.

Every image of a batch gets its own operations. The transform is applied to the `uint8` batch
before it is scaled, and stays outside of the compiled step: what it draws differs in each call.

Run with: python examples/use_gpu_batches.py
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import policysearch


def main(epochs: int = 5, compile_backend: str = "inductor") -> float:
    """Trains a small network on the digits; returns its accuracy on those it has not seen."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.from_numpy(digits.images * 15).to(torch.uint8)[:, None].to(device)
    y = torch.from_numpy(digits.target).to(device)
    n_train = 1500

    augment = policysearch.load_policy("randaugment", seed=0)  # or a policy.json; an nn.Module
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 16, 10),
    ).to(device)  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(images / 255), labels)

    compiled_loss_of = torch.compile(loss_of, backend=compile_backend)
    for _ in range(epochs):
        for rows in torch.randperm(n_train, device=device).split(100):
            loss = compiled_loss_of(augment(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    with torch.no_grad():
        is_right = model(x[n_train:] / 255).argmax(dim=1) == y[n_train:]
    accuracy = is_right.float().mean().item()
    print(f"{accuracy:.1%} of {len(is_right)} digits, trained on {device}")
    return accuracy


if __name__ == "__main__":
    main()
