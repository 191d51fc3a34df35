"""Per-sample augmentation in a real loader: the same samples whatever the workers."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset

from policysearch.errors import InvalidValueError
from policysearch.loading import AugmentedDataset
from policysearch.transform import load_policy

N = 10
N_EPOCHS = 3


class Images:
    """A dataset that spawned workers can import."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        if index >= N:
            raise IndexError(index)
        rng = np.random.default_rng(index)
        return torch.from_numpy(rng.integers(0, 256, (1, 8, 8), dtype=np.uint8)), index


def augmented():
    return AugmentedDataset(Images(), load_policy("uniformaugment", seed=3))


def epochs_of(dataset, n_epochs=N_EPOCHS, **options):
    torch.manual_seed(0)  # the order of shuffled samples, which the result must not depend on
    loader = DataLoader(dataset, batch_size=3, **options)
    result = []
    for _ in range(n_epochs):
        x, y = (torch.cat(parts) for parts in zip(*loader, strict=True))
        result.append(x[torch.argsort(y)])
    return torch.stack(result)


@pytest.fixture(scope="module")
def expected():
    return epochs_of(augmented())


def test_epochs_differ_and_belong_to_the_seed(expected):
    assert not torch.equal(expected[0], expected[1])
    assert not torch.equal(expected[1], expected[2])
    transform = load_policy("uniformaugment", seed=3)
    plain = torch.stack([x for x, _ in (Images()[i] for i in range(N))])
    for epoch in range(N_EPOCHS):
        assert torch.equal(expected[epoch], transform(plain, index=range(N), epoch=epoch))


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": True},
        {"num_workers": 1, "multiprocessing_context": "fork"},
        {"num_workers": 2, "multiprocessing_context": "fork", "shuffle": True},
        {"num_workers": 2, "multiprocessing_context": "fork", "persistent_workers": True},
        {"num_workers": 1, "multiprocessing_context": "spawn"},
        {"num_workers": 2, "multiprocessing_context": "spawn", "persistent_workers": True},
    ],
    ids=["shuffled", "fork-1", "fork-2", "fork-2-persistent", "spawn-1", "spawn-2-persistent"],
)
def test_samples_are_the_same_for_any_number_and_kind_of_workers(options, expected):
    n_epochs = 2 if options.get("multiprocessing_context") == "spawn" else N_EPOCHS  # slow starts
    assert torch.equal(epochs_of(augmented(), n_epochs, **options), expected[:n_epochs])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_a_copy_counts_in_workers_too(copied, expected):
    dataset = copied(augmented())
    found = epochs_of(dataset, 2, num_workers=1, multiprocessing_context="fork")
    assert torch.equal(found, expected[:2])


def test_set_epoch_goes_on_where_a_training_stopped(expected):
    dataset = augmented()
    dataset.set_epoch(1)
    assert torch.equal(epochs_of(dataset, 2), expected[1:])


def test_a_subset_of_the_augmented_samples_is_a_part_of_them(expected):
    found = epochs_of(Subset(augmented(), [2, 5]), 2)
    assert torch.equal(found, expected[:2, [2, 5]])


def test_without_index_workers_have_streams_apart():
    class Plain(Images):
        def __getitem__(self, index):
            return transform(torch.full((1, 8, 8), 100, dtype=torch.uint8)), index

    transform = load_policy("uniformaugment", seed=3)
    torch.manual_seed(0)
    loader = DataLoader(
        Plain(), batch_size=5, num_workers=2, multiprocessing_context="fork", shuffle=False
    )
    first, second = (x for x, _ in loader)
    assert not torch.equal(first, second)


def test_a_sample_read_twice_in_a_batch_is_augmented_twice():
    one, other = augmented(), augmented()
    batch = one.__getitems__([3, 2, 3])
    single = [other[i] for i in (3, 2, 3)]
    assert [int(y) for _, y in batch] == [3, 2, 3]
    for (x, _), (expected, _) in zip(batch, single, strict=True):
        assert torch.equal(x, expected)
    assert not torch.equal(batch[0][0], batch[2][0])


def test_negative_indices_count_from_the_end():
    assert torch.equal(augmented()[-1][0], augmented()[N - 1][0])
    assert augmented()[-1][1] == N - 1


@pytest.mark.parametrize("index", [N, -N - 1, 5 * N])
def test_an_index_out_of_range_is_refused(index):
    with pytest.raises(IndexError, match=f"index {index} is out of range for {N}"):
        augmented()[index]


def test_something_else_than_a_transform_is_refused():
    with pytest.raises(InvalidValueError, match="must be a PolicyTransform"):
        AugmentedDataset(Images(), "uniformaugment")


class Batched(Images):
    def __getitems__(self, indices):
        return [(self[i][0], -i) for i in indices]


def test_a_dataset_that_reads_batches_is_read_by_them():
    dataset = AugmentedDataset(Batched(), load_policy("uniformaugment", seed=3))
    assert [y for _, y in dataset.__getitems__([3, 4])] == [-3, -4]


def test_targets_come_along_and_the_length_stays():
    dataset = AugmentedDataset([(np.zeros((4, 4), np.uint8), "label", 3)], load_policy("none"))
    assert len(dataset) == 1
    x, *rest = dataset[0]
    assert rest == ["label", 3]
    assert x.shape == (4, 4)


@pytest.mark.parametrize("item", [np.zeros((8, 8, 3), np.uint8), {"image": 1}, torch.zeros(3, 4)])
def test_items_that_are_no_tuples_are_refused(item):
    dataset = AugmentedDataset([item], load_policy("randaugment"))
    with pytest.raises(
        InvalidValueError, match=r"tuples \(x, \*rest\).*got " + type(item).__name__
    ):
        dataset[0]


def test_a_dataset_without_length_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([])

    with pytest.raises(InvalidValueError, match="must be map-style"):
        AugmentedDataset(Stream(), load_policy("none"))
