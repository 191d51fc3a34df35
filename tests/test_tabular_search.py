"""Tables through the proxy, a whole search, a comparison and a trainer."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import policysearch
from policysearch import cli
from policysearch.data import load_source
from policysearch.data.columns import Column
from policysearch.data.dataset import Dataset
from policysearch.errors import InvalidValueError
from policysearch.loading import AugmentedDataset
from policysearch.metrics import scores
from policysearch.named import resolve_policy
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.proxies.base import settings_for
from policysearch.proxies.table_encoding import TableEncoding
from policysearch.space_yaml import load_space
from policysearch.transform import PolicyTransform, load_policy

SMALL = {
    "trials": 7,
    "epochs": 1,
    "candidates": 1,
    "confirm_seeds": 1,
    "verdict_seeds": 2,
    "folds": 2,
    "workers": 1,
}
NAN = float("nan")
COLUMNS = (Column("a"), Column("b"), Column("c", ("u", "v", "w")))


def rows(n, seed=0):
    """The class is in a number and in a category, each with noise; one column says nothing."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    c = np.where(rng.random(n) < 0.8, y, 2)
    x = np.stack([rng.normal(y * 1.5), rng.normal(size=n) * 1e6, c], axis=1)
    x[::7, 1] = NAN
    return Dataset(x, y.astype(np.int64), ("k", "l"), modality="tabular", columns=COLUMNS)


def policy_of(*calls):
    return Policy((SubPolicy(tuple(Stage((call,)) for call in calls)),), "tabular", "tabular-1")


NONE = Policy(modality="tabular", ops_version="tabular-1")
EVERYTHING = policy_of(
    OpCall("interpolate", 0.3, 0.3, unit="fraction"),
    OpCall("gaussian_noise", 0.1, 0.1, unit="std"),
    OpCall("swap_noise", 0.1, 0.1, unit="fraction"),
    OpCall("feature_dropout", 0.1, 0.1, unit="fraction"),
    OpCall("categorical_resample", 0.1, 0.1, unit="fraction"),
)


def fitted(train, policy=NONE, epochs=30, seed=0):
    proxy = settings_for(train).make(train, policy, epochs, seed)
    proxy.fit()
    return proxy


def test_the_proxy_learns_and_equal_seeds_learn_the_same():
    test = rows(300, seed=1)
    first, again = (fitted(rows(60), EVERYTHING).predict(test) for _ in range(2))
    assert scores(first, test.y)["accuracy"] > 0.85
    assert np.array_equal(first, again)
    assert not np.array_equal(first, fitted(rows(60), EVERYTHING, seed=1).predict(test))
    assert not np.array_equal(first, fitted(rows(60)).predict(test))


def test_scaling_and_encoding_are_fitted_to_the_training_rows_alone():
    train = rows(40).take(np.flatnonzero(rows(40).x[:, 2] < 2))
    encoding = TableEncoding(train)
    known = train.x[:, 0]
    low, median, high = np.quantile(known, [0.25, 0.5, 0.75])
    assert encoding.median[0] == median
    assert encoding.scale[0] == 1 / (high - low)
    assert [c.tolist() for c in encoding.categories] == [[0.0, 1.0]], "w is in no training row"
    wild = np.array([[1e12, NAN, 2.0], [median, -1e12, NAN], [NAN, 0.0, 1.0]])
    inputs = encoding.encode(wild)
    np.testing.assert_allclose(inputs[:, 0], [3, 0, 0], atol=1e-6)
    assert inputs[:, 2].tolist() == [1, 0, 0], "b has gaps, so they are told"
    assert inputs[:, 3:].tolist() == [[0, 0], [0, 0], [0, 1]]
    assert inputs.shape == (3, encoding.width)
    test = rows(40, seed=1)
    before = fitted(train, EVERYTHING, epochs=2).predict(test)
    loud = dataclasses.replace(test, x=np.concatenate([test.x[:20], test.x[20:] * [1e9, 1, 1]]))
    after = fitted(train, EVERYTHING, epochs=2).predict(loud)
    np.testing.assert_allclose(after[:20], before[:20], atol=1e-6)


def test_constant_and_empty_columns_are_encoded_as_nothing():
    x = np.array([[5.0, NAN, 0], [5.0, NAN, 0]])
    data = Dataset(x, np.array([0, 1]), ("k", "l"), modality="tabular", columns=COLUMNS)
    assert TableEncoding(data).encode(x).tolist() == [[0, 0, 1, 1]] * 2


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InvalidValueError, match="`--device` must be one that torch"):
        settings_for(rows(4), "cuda:99")


def test_a_search_ends_in_a_policy_that_a_trainer_loads(tmp_path):
    data, out = rows(60), tmp_path / "run"
    lines = [f"{a},{b},{'uvw'[int(c)]},{y}" for (a, b, c), y in zip(data.x, data.y, strict=True)]
    table = tmp_path / "x.csv"
    table.write_text("a,b,c,kind\n" + "\n".join(lines))
    result = policysearch.search(table, out=out, label_column="kind", search_anyway=True, **SMALL)
    assert result.policy.modality == "tabular"
    names = {arm["name"] for arm in result.verdict["arms"]}
    assert names >= {"none", "default", "smote", "randaugment", "uniformaugment", "found"}
    provenance = json.loads((out / "policy.json").read_text())["provenance"]
    assert provenance["space"] == "tabular/opwise"
    transform = load_policy(out, seed=0, categorical=[2]).fit(data.x, data.y)
    x, y = transform(data.x[:5], data.y[:5], index=np.arange(5))
    assert x.shape == (5, 3)
    assert np.array_equal(y, data.y[:5])


def test_without_categories_there_is_nothing_to_resample():
    space = load_space("opwise", "tabular")
    assert "categorical_resample" in {entry.op for entry in space.ops}
    n_channels = load_source("wine").train.n_channels
    kept = {entry.op for entry in space.restricted_to(n_channels).ops}
    assert kept == {entry.op for entry in space.ops} - {"categorical_resample"}


def test_ops_spaces_and_policies_of_tables_can_be_looked_up(capsys):
    assert cli.main(["ops", "--modality", "tabular"]) == 0
    assert "interpolate" in capsys.readouterr().out
    assert cli.main(["spaces", "tabular/opwise"]) == 0
    assert "tabular-1" in capsys.readouterr().out
    assert cli.main(["show", "smote"]) == 0
    assert "up to 100% of the way to a near row of its class" in capsys.readouterr().out


def test_single_rows_batches_arrays_and_tensors_are_augmented_alike():
    train = rows(30)
    transform = PolicyTransform(EVERYTHING, 0)
    with pytest.raises(InvalidValueError, match=r"Call transform.fit\(x, y\) with all"):
        transform(train.x, train.y)
    transform = load_policy(EVERYTHING, categorical=[2]).fit(train.x, train.y)
    index = np.arange(30)
    whole, _ = transform(train.x, train.y, index=index)
    assert (np.isnan(whole) == np.isnan(train.x)).all()
    assert set(whole[:, 2]) <= {0, 1, 2}
    one, _ = transform(train.x[3], train.y[3], index=3)
    np.testing.assert_array_equal(one, whole[3])
    tensor, _ = transform(
        torch.from_numpy(train.x).float(), torch.from_numpy(train.y), index=index
    )
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor[:, 0], whole[:, 0], rtol=1e-5)
    assert transform.eval()(train.x) is train.x


@pytest.mark.parametrize(
    ("x", "text"),
    [
        ([[1.0]], "must be a numpy array or a torch tensor, got list. Turn a data frame"),
        (np.ones((2, 3), int), r"must be floating, got int64. Use x.astype"),
        (torch.ones(2, 3, 1), r"must be \(d,\), or a batch \(n, d\)"),
        (np.full((2, 3), np.inf), "must be finite, or NaN"),
    ],
)
def test_what_are_no_rows_is_refused(x, text):
    with pytest.raises(InvalidValueError, match=text):
        PolicyTransform(EVERYTHING, 0).fit(rows(9).x, rows(9).y)(x, None)


def test_places_of_categories_are_checked():
    for bad in ("ab", [-1], [0.5], 3):
        with pytest.raises(InvalidValueError, match="`categorical` must list the places"):
            load_policy("smote", categorical=bad)
    with pytest.raises(InvalidValueError, match="`categorical` must be below 3"):
        load_policy("smote", categorical=[3]).fit(rows(9).x)
    with pytest.raises(InvalidValueError, match="`categorical` is for tabular policies"):
        load_policy("eda", categorical=[0])
    assert resolve_policy("default-tabular").policy.modality == "tabular"


def test_rows_of_a_file_are_augmented_into_another(tmp_path, capsys):
    source, target = tmp_path / "x.csv", tmp_path / "more.csv"
    lines = [f"{i},{i % 5}.50,{'uv'[i % 2]},n/a,{'kl'[i % 2]}" for i in range(12)]
    source.write_text("id,a,c,b,kind\n" + "\n".join(lines) + "\n")
    words = ["apply", "smote", str(source), str(target), "--label-column", "kind", "--copies", "3"]
    assert cli.main([*words, "--categorical-column", "id"]) == 0
    assert "Wrote 36 rows" in capsys.readouterr().out
    header, *rows_out = [line.split(",") for line in target.read_text().splitlines()]
    assert header == ["id", "a", "c", "b", "kind"]
    assert len(rows_out) == 36
    first = [row for row in rows_out if row[1].endswith(".50")]
    assert 0 < len(first) < 36, "some stay as they are written, others move"
    for k, row in enumerate(rows_out):
        assert row[4] == "kl"[k // 3 % 2]
        assert row[2] == "uv"[k // 3 % 2], "neighbours of the class have its category"
        assert row[3] == "n/a"
        assert row[0] in {str(i) for i in range(12)}
        assert 0 <= float(row[1]) <= 4.5
    before = target.read_text()
    assert cli.main([*words, "--categorical-column", "id", "--force"]) == 0
    assert target.read_text() == before
    assert cli.main(["apply", "smote", str(source), str(source), "--force"]) != 0
    assert "the rows themselves would be lost" in capsys.readouterr().err


def test_a_dataset_of_rows_is_augmented_with_the_classes_it_yields():
    train = rows(30)
    transform = load_policy(EVERYTHING, categorical=[2]).fit(train.x, train.y)
    pairs = [(x, int(y)) for x, y in zip(train.x, train.y, strict=True)]
    items = AugmentedDataset(pairs, transform).__getitems__(list(range(30)))
    whole, _ = transform(train.x, train.y, index=np.arange(30), epoch=0)
    np.testing.assert_array_equal(np.stack([x for x, _ in items]), whole)
    assert [y for _, y in items] == train.y.tolist()
    with pytest.raises(InvalidValueError, match="stays within the class of a row"):
        AugmentedDataset([(x,) for x in train.x], transform)[0]
    assert transform.each([], [], []) == []
    with pytest.raises(InvalidValueError, match=r"of shape \(n, 3\)"):
        transform.each([train.x[0], train.x[0, :2]], [0, 1], 0, y=[0, 1])


def test_a_class_for_each_row_or_an_error():
    transform = policysearch.load_policy("smote")
    with pytest.raises(InvalidValueError, match="a class for each of 20 rows, got 5"):
        transform.fit(np.zeros((20, 4)), np.zeros(5, int))
