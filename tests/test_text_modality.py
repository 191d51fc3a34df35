"""Text through the transform: what users hold goes in and comes out."""

import pickle
import threading

import numpy as np
import pytest
import torch

import policysearch
from policysearch.errors import FormatError, InvalidValueError
from policysearch.policy import Mix, OpCall, Policy, Stage, SubPolicy

TEXTS = ["The quick brown fox jumps over a lazy dog.", "I do NOT like this film, at all!", ""] * 4


def policy(*calls, probability=1.0):
    stages = tuple(Stage((OpCall(op, m, m),), probability) for op, m in calls)
    return Policy((SubPolicy(stages),), "text", "text-1")


def transform_of(*calls, seed=0, **settings):
    return policysearch.load_policy(policy(*calls), seed=seed, **settings)


def test_strings_lists_tuples_and_arrays_come_back_as_they_went_in():
    transform = transform_of(("random_delete", 0.3))
    index = range(len(TEXTS))
    expected = transform(TEXTS, index=index)
    assert type(expected) is list
    assert expected != TEXTS
    assert transform(tuple(TEXTS), index=index) == tuple(expected)
    for array in (np.array(TEXTS), np.array(TEXTS, dtype=object)):
        out = transform(array, index=index)
        assert out.dtype.kind == array.dtype.kind
        assert out.tolist() == expected
    assert transform(TEXTS[0], index=0) == expected[0]
    assert transform([]) == []
    assert transform(np.array([], dtype="U5")).dtype.kind == "U"


def test_the_input_is_not_changed_and_eval_gives_it_back():
    transform = transform_of(("random_delete", 0.3))
    before = list(TEXTS)
    transform(TEXTS)
    assert before == TEXTS
    transform.eval()
    assert transform(TEXTS) is TEXTS


def test_targets_pass_through():
    x, y = transform_of(("random_swap", 0.2))("a b c d e", 3)
    assert sorted(x.split()) == list("abcde")
    assert y == 3


def test_a_policy_with_substitution_asks_for_training_texts():
    transform = transform_of(("tfidf_substitute", 0.5))
    with pytest.raises(InvalidValueError, match=r"Call transform\.fit\(texts\) first"):
        transform("a b c")
    fitted = transform.fit(["red green blue", "red yellow", "blue black"])
    assert fitted is transform
    words = set(transform("u v w x y z", index=0).split())
    assert words & {"red", "green", "blue", "yellow", "black"}


def test_settings_of_other_kinds_of_data_are_refused(tmp_path):
    with pytest.raises(InvalidValueError, match="`sample_rate` is for audio policies"):
        transform_of(("random_swap", 0.2), sample_rate=8000)
    with pytest.raises(InvalidValueError, match="`thesaurus` is for text policies"):
        policysearch.load_policy("randaugment", thesaurus=tmp_path / "a.tsv")
    with pytest.raises(InvalidValueError, match="`unknown` is for text policies"):
        policysearch.load_policy("randaugment", unknown="[MASK]")
    with pytest.raises(InvalidValueError, match="texts have none"):
        transform_of(("random_swap", 0.2))("a b", lengths=[2])


def test_an_own_thesaurus_and_an_own_sign_are_used(tmp_path):
    (tmp_path / "own.tsv").write_text("gizmo\tgadget\n")
    transform = transform_of(("synonym_replace", 0.4), thesaurus=tmp_path / "own.tsv")
    seen = {transform("Gizmo fox", index=i) for i in range(20)}
    assert seen == {"Gizmo fox", "Gadget fox"}
    masking = transform_of(("unk_dropout", 1.0), unknown="<mask>")
    assert masking("Good, day!") == "<mask>, <mask>!"


@pytest.mark.parametrize("unknown", ["", "two words", 3, "x" * 65])
def test_a_sign_that_is_no_word_is_refused(unknown):
    with pytest.raises(InvalidValueError, match="`unknown` must be one word"):
        transform_of(("unk_dropout", 1.0), unknown=unknown)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (3, "got int"),
        ([1, 2], r"must be a string, got 1 \(text 0\)"),
        (["a", None], r"got None \(text 1\)"),
        (b"bytes", "got bytes"),
        (np.zeros(3), r"an array of shape \(3,\)"),
        (torch.zeros(3, dtype=torch.int64), "Augment before tokenizing"),
        (np.array([["a"]]), r"an array of shape \(1, 1\)"),
    ],
)
def test_what_is_no_text_is_refused(x, text):
    with pytest.raises(InvalidValueError, match=text):
        transform_of(("random_swap", 0.2))(x)


def test_texts_have_no_average():
    with pytest.raises(FormatError, match="`mix` averages samples"):
        policysearch.load_policy(
            Policy(policy(("random_swap", 0.2)).sub_policies, "text", "text-1", mix=Mix())
        )


def test_a_copy_does_the_same(tmp_path):
    (tmp_path / "own.tsv").write_text("fox\tvixen\tfoxes\nlazy\tidle\n")
    calls = (("synonym_replace", 0.4), ("tfidf_substitute", 0.2))
    transform = transform_of(*calls, thesaurus=tmp_path / "own.tsv").fit(TEXTS)
    expected = transform(TEXTS, index=range(len(TEXTS)))
    (tmp_path / "own.tsv").unlink()
    copy = pickle.loads(pickle.dumps(transform))
    assert copy(TEXTS, index=range(len(TEXTS))) == expected


def test_threads_do_not_disturb_each_other():
    transform = transform_of(("keyboard_typo", 0.2), ("random_swap", 0.2))
    groups = [[f"text{i} number{j} of many words here" for j in range(40)] for i in range(8)]
    expected = [
        transform_of(*[("keyboard_typo", 0.2), ("random_swap", 0.2)])(g, index=range(40))
        for g in groups
    ]
    found = [None] * 8

    def work(i):
        for _ in range(5):
            found[i] = transform(groups[i], index=range(40))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_loader_workers_give_the_same_texts():
    items = [(text, i) for i, text in enumerate(TEXTS)]
    seen = []
    for n_workers in (0, 2):
        data = policysearch.AugmentedDataset(items, transform_of(("random_delete", 0.3)))
        loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=n_workers)
        seen.append([(list(x), y.tolist()) for x, y in loader])
    assert seen[0] == seen[1]


def test_each_gives_what_single_calls_give():
    transform = transform_of(("random_delete", 0.3), ("keyboard_typo", 0.1))
    together = transform.each(TEXTS, range(len(TEXTS)), 3)
    assert together == [transform(text, index=i, epoch=3) for i, text in enumerate(TEXTS)]
    assert transform.each([], [], 0) == []
