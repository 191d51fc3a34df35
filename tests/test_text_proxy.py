"""The proxy of texts: it learns, from its training texts alone, and the same for equal seeds."""

import numpy as np
import pytest
import torch

from policysearch.data.dataset import Dataset
from policysearch.draws import Drawer
from policysearch.ops.lexicon import Lexicon
from policysearch.ops.thesaurus import thesaurus_of
from policysearch.policy import OpCall, Policy, Stage, SubPolicy
from policysearch.proxies.base import settings_for
from policysearch.proxies.text import FIRST_ROW, PADDING, UNKNOWN, TextProxyConfig, embedding_rows

GOOD, BAD = ["good", "great", "lovely", "fine"], ["bad", "awful", "boring", "poor"]


def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    fill = ["the", "film", "was", "story", "it", "actor"]
    y = np.arange(n) % 2
    x = np.empty(n, dtype=object)
    for i in range(n):
        words = [*rng.choice(fill, 6), rng.choice(GOOD if y[i] else BAD)]
        x[i] = " ".join(rng.permutation(words))
    return Dataset(x, y.astype(np.int64), ("bad", "good"), modality="text")


def policy(*names, m=0.3):
    stages = tuple(Stage((OpCall(name, 0.0, m),)) for name in names)
    return Policy((SubPolicy(stages),) if stages else (), "text", "text-1")


def trained(policy, seed=0, train=None, n_epochs=4, **settings):
    train = texts(80) if train is None else train
    proxy = TextProxyConfig(batch_size=20, **settings).make(train, policy, n_epochs, seed)
    proxy.fit()
    return proxy


def test_it_learns():
    test = texts(200, seed=1)
    predicted = trained(policy(), n_epochs=15).predict(test)
    assert (predicted.argmax(axis=1) == test.y).mean() > 0.95  # half by guessing


def test_equal_seeds_give_equal_weights_and_others_do_not():
    aug = policy("random_swap", "keyboard_typo", "tfidf_substitute")
    test = texts(10, seed=1)
    first = trained(aug).predict(test)
    assert (first == trained(aug).predict(test)).all()
    assert (first != trained(aug, seed=1).predict(test)).any()


def test_policies_are_paired_by_their_first_weights():
    train = texts(40)
    made = [TextProxyConfig().make(train, p, 1, 0) for p in (policy(), policy("random_swap"))]
    for a, b in zip(*(proxy.network.state_dict().values() for proxy in made), strict=True):
        assert torch.equal(a, b)


def test_augmentation_changes_what_is_learned():
    test = texts(10, seed=1)
    assert (
        trained(policy("random_delete")).predict(test) != trained(policy()).predict(test)
    ).any()


def test_numbers_and_strings_of_augmented_texts_are_the_same_inputs():
    train = texts(50)
    aug = policy("synonym_replace", "random_insert", "tfidf_substitute", "random_delete")
    proxy = TextProxyConfig().make(train, aug, 1, 0)
    drawn = Drawer(aug, 3).draw(np.arange(50))
    rows = proxy.training_inputs(np.arange(50), drawn)
    assert torch.equal(rows, proxy.inputs(proxy.augmented(train, drawn, aug)))


def test_a_misspelt_word_is_unknown():
    train = texts(20)
    aug = policy("char_delete", m=1.0)
    proxy = TextProxyConfig().make(train, aug, 1, 0)
    rows = proxy.training_inputs(np.arange(20), Drawer(aug, 0).draw(np.arange(20)))
    assert (rows == UNKNOWN).any()


def test_rows_are_of_training_words_and_their_synonyms():
    lexicon = Lexicon(thesaurus_of({"good": ["fine", "Nice"], "red": ["crimson"]}))
    words = lexicon.encode(["Good film!", "a good Film"]).words
    row_of, n_trained = embedding_rows(words, lexicon)

    def row(word):
        return row_of[lexicon.find(word)]

    assert n_trained == FIRST_ROW + 3
    assert sorted({row("good"), row("film"), row("a")}) == [2, 3, 4]
    assert row("GOOD") == row("Good") == row("good")
    assert min(row("fine"), row("Nice"), row("."), row("!")) >= n_trained
    assert row("crimson") == row("red") == UNKNOWN
    assert PADDING not in row_of


def test_words_of_other_texts_are_unknown():
    proxy = TextProxyConfig().make(texts(20), policy(), 1, 0)
    new = texts(2, seed=1)
    new.x[:] = ["zzz qqq", ""]
    assert proxy.inputs(new).tolist() == [[UNKNOWN, UNKNOWN], [PADDING, PADDING]]


def test_long_texts_are_cut():
    data = texts(4)
    data.x[:] = ["word " * 1000] * 4
    proxy = TextProxyConfig(max_words=50).make(data, policy(), 1, 0)
    assert proxy.inputs(data).shape == (4, 50)
    assert np.isfinite(proxy.predict(data)).all()


def test_texts_without_a_word_are_no_problem():
    data = texts(6)
    data.x[:] = ["", " ", "...", "", "a", "b"]
    proxy = trained(policy("random_swap", "random_delete", "synonym_replace"), train=data)
    assert np.isfinite(proxy.predict(data)).all()


def test_probes_augment_every_text_several_times():
    proxy = trained(policy())
    data = texts(20, seed=1)
    predicted, y = proxy.predict_augmented(data, policy("unk_dropout", m=1.0))
    assert len(predicted) == len(y) == 160
    clean = proxy.predict(data)
    accuracy = [
        (p.argmax(axis=1) == labels).mean() for p, labels in ((clean, data.y), (predicted, y))
    ]
    assert accuracy[1] < accuracy[0]


def test_settings_are_found_by_the_kind_of_data():
    assert isinstance(settings_for(texts(4)), TextProxyConfig)
    assert settings_for(texts(4)).default_epochs(500) == 30


@pytest.mark.parametrize("n", [1, 10, 10_000, 1_000_000])
def test_epochs_stay_within_bounds(n):
    assert 5 <= TextProxyConfig().default_epochs(n) <= 60
