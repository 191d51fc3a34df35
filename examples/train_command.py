"""A training program for `--objective command`. It may be in any language and framework.

policysearch search --objective command \
    --command "python examples/train_command.py --policy {policy} --seed {seed} --rung {rung}"
"""

import argparse
import json

import torch
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import policysearch

N_EPOCHS, N_TRAIN = 30, 100


def main() -> None:
    """Trains on the digits; prints how it goes, and at last the score."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--policy", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rung", default="search")
    options = parser.parse_args()

    data = load_digits()
    images = torch.from_numpy(data.images * (255 / 16)).to(torch.uint8)[:, None]  # (n, 1, 8, 8)
    held_out = slice(1000, None) if options.rung == "verdict" else slice(N_TRAIN, 1000)
    x_held_out = images[held_out].flatten(1) / 255

    transform = policysearch.load_policy(options.policy, seed=options.seed)
    network = MLPClassifier((64,), batch_size=20, random_state=options.seed)
    accuracy = 0.0
    for epoch in range(N_EPOCHS):
        augmented = transform(images[:N_TRAIN])  # every image its own draw
        network.partial_fit(augmented.flatten(1) / 255, data.target[:N_TRAIN], classes=range(10))
        accuracy = float(network.score(x_held_out, data.target[held_out]))
        # What lets the search stop a poor training early:
        print(json.dumps({"step": epoch, "value": accuracy}))
    print(json.dumps({"score": accuracy}))


if __name__ == "__main__":
    main()
