"""What each operation on text does, against slow formulas and by example."""

import itertools

import numpy as np
import pytest

from policysearch.errors import InvalidValueError, UnknownNameError
from policysearch.ops.lexicon import Lexicon, Words
from policysearch.ops.registry import op_table
from policysearch.ops.text_kernels import TextKernels, count_words
from policysearch.ops.text_words import MARKS, parts, pieces
from policysearch.ops.thesaurus import shipped_thesaurus, thesaurus_of

SENTENCE = "the quick brown fox jumps over the lazy dog near a big old house today"
THESAURUS = {"quick": ["fast"], "lazy": ["idle", "slow"], "big": ["large"], "house": ["home"]}


@pytest.fixture(scope="module")
def kernels():
    return TextKernels(Lexicon(thesaurus_of(THESAURUS)))


def run(kernels, op, texts, m, seed=0):
    n = len(texts)
    draws = np.random.default_rng(seed).random((n, 1, 1))
    return kernels.apply(texts, [op], np.zeros((n, 1), int), np.full((n, 1), m), draws)


def test_counts_of_changes_are_the_fraction_on_average(kernels):
    n = 4000
    for m in (0.01, 0.1, 0.25):
        after = run(kernels, "random_delete", [SENTENCE] * n, m)
        removed = [15 - len(text.split()) for text in after]
        assert set(removed) <= {int(15 * m), int(15 * m) + 1}
        # 5 standard errors of a mean of numbers that are 0 or 1 beyond the whole part
        assert abs(np.mean(removed) - 15 * m) < 5 * 0.5 / np.sqrt(n)


def test_synonyms_come_from_the_thesaurus_in_the_case_of_the_word(kernels):
    text = "Quick LAZY big, (house)! thing"
    seen = set(run(kernels, "synonym_replace", [text] * 50, 1.0))
    assert seen == {"Fast IDLE large, (home)! thing", "Fast SLOW large, (home)! thing"}


def test_stop_words_get_no_synonym():
    kernels = TextKernels(Lexicon(thesaurus_of({"very": ["really"], "film": ["movie"]})))
    assert run(kernels, "synonym_replace", ["very film"] * 5, 1.0) == ["very movie"] * 5


def test_inserted_words_are_synonyms_of_words_of_the_text(kernels):
    known = set(SENTENCE.split())
    synonyms = {"fast", "idle", "slow", "large", "home"}
    places, new = set(), set()
    for after in run(kernels, "random_insert", [SENTENCE] * 400, 0.07):
        words = after.split()
        extra = [i for i, word in enumerate(words) if word not in known]
        assert " ".join(w for i, w in enumerate(words) if i not in extra) == SENTENCE
        new |= {words[i] for i in extra}
        places |= set(extra)
    assert new == synonyms
    assert places == set(range(17))


def test_without_thesaurus_nothing_is_a_synonym():
    kernels = TextKernels(Lexicon())
    for op in ("synonym_replace", "random_insert"):
        assert run(kernels, op, [SENTENCE], 0.4) == [SENTENCE]


def test_swaps_keep_words_and_leave_signs_where_they_are(kernels):
    text = '"One" two, three (four) five... six!'
    seen = set(run(kernels, "random_swap", [text] * 200, 0.17))
    assert '"two" One, three (four) five... six!' in seen
    for after in seen:
        assert sorted(after) == sorted(text)
        assert [c for c in after if not c.isalnum()] == [c for c in text if not c.isalnum()]


def test_unknown_sign_can_be_chosen():
    kernels = TextKernels(Lexicon(unknown="<unk>"))
    assert run(kernels, "unk_dropout", ["Good, bad!"] * 3, 1.0) == ["<unk>, <unk>!"] * 3


def test_marks_are_inserted_before_different_words(kernels):
    for after in run(kernels, "punctuation_insert", [SENTENCE] * 200, 0.5):
        words = after.split()
        assert " ".join(word for word in words if word not in MARKS) == SENTENCE
        assert not any(a in MARKS and b in MARKS for a, b in itertools.pairwise(words))
        assert 7 <= sum(word in MARKS for word in words) <= 8
        assert words[-1] not in MARKS


def test_crops_keep_a_run_of_words(kernels):
    starts = set()
    for after in run(kernels, "span_crop", [SENTENCE] * 200, 0.4):
        assert after in SENTENCE
        assert len(after.split()) == 9
        starts.add(SENTENCE.index(after))
    assert len(starts) == 7


def test_crops_stop_at_negations(kernels):
    text = "a b c never d e f g h i"
    for after in run(kernels, "span_crop", [text] * 100, 0.9):
        assert "never" in after.split()


def test_typos_are_neighbours_on_the_keyboard_in_the_same_case(kernels):
    seen = {after[0] for after in run(kernels, "keyboard_typo", ["Gggggggggg"] * 400, 0.1)}
    assert seen <= set("GTYFHVB")
    after = run(kernels, "keyboard_typo", ["gggggggggg"] * 400, 1.0)
    assert set("".join(after)) == set("tyfhvb")


def test_swapped_characters_are_neighbours(kernels):
    seen = set(run(kernels, "char_swap", ["abcd"] * 300, 0.34))
    assert {"bacd", "acbd", "abdc"} <= seen
    assert all(sorted(word) == list("abcd") for word in seen)


def test_deleted_characters_leave_one(kernels):
    assert set(run(kernels, "char_delete", ["abc, d"] * 50, 1.0)) == {"c, d"}


def test_stages_follow_each_other(kernels):
    """A misspelt word is no longer one that has synonyms; a synonym can be misspelt."""
    ops = ["keyboard_typo", "synonym_replace"]
    m, draws = np.ones((1, 2)), np.full((1, 2, 1), 0.3)
    first = kernels.apply(["quick"], ops, [[0, 1]], m, draws)[0]
    assert first not in ("quick", "fast")
    assert len(first) == 5
    then = kernels.apply(["quick"], ops, [[1, 0]], m, draws)[0]
    assert len(then) == 4
    assert then != "fast"


def test_misspelling_twice_starts_from_the_misspelt_word(kernels):
    ops = ["char_delete", "char_swap"]
    draws = np.random.default_rng(0).random((50, 2, 1))
    after = kernels.apply(["abcdef"] * 50, ops, [[0, 1]] * 50, np.full((50, 2), 1 / 6), draws)
    assert {len(word) for word in after} == {5}
    assert any(list(word) != sorted(word) for word in after)


def test_counts_are_those_of_the_texts():
    found = count_words(["common common rare!", "Common odd", "never"])
    assert found.words == ("Common", "common", "never", "odd", "rare")
    assert found.count.tolist() == [1, 2, 1, 1, 1]
    assert found.n_texts.tolist() == [1, 1, 1, 1, 1]
    assert found.n == 3


def test_substitutes_follow_the_formula_of_uda():
    """Chances in proportion to max S - S with S = frequency x log(n / texts with the word)."""
    texts = ["common common rare", "common odd", "common usual", "usual never plain"]
    kernels = TextKernels(Lexicon(), count_words(texts))
    after = run(kernels, "tfidf_substitute", ["x"] * 20_000, 0.5)
    drawn = [text for text in after if text != "x"]
    count = np.array([4, 1, 1, 1, 2])
    says = count * np.log(4 / np.array([3, 1, 1, 1, 2]))
    chance = (says.max() - says) / (says.max() - says).sum()
    for word, share in zip(["common", "odd", "plain", "rare", "usual"], chance, strict=True):
        # 5 standard errors of a share among some 10,000
        assert abs(drawn.count(word) / len(drawn) - share) < 5 * 0.5 / np.sqrt(len(drawn))
    assert "never" not in drawn


def test_words_of_low_tfidf_are_replaced_most():
    texts = ["alpha beta", "alpha gamma", "alpha delta", "alpha epsilon", "alpha zeta zeta"]
    lexicon = Lexicon()
    kernels = TextKernels(lexicon, count_words(texts))
    before = ["alpha", "beta", "alien", "gamma"]
    after = run(kernels, "tfidf_substitute", [" ".join(before)] * 2000, 0.25)
    changes = np.array([[a != b for a, b in zip(before, t.split(), strict=True)] for t in after])
    # alpha is in every text; it is drawn for itself in one of three cases
    assert abs(changes[:, 0].mean() - 2 / 3) < 0.06
    assert changes[:, 1:].mean() < 0.01


def test_substitution_without_statistics_does_nothing(kernels):
    assert run(kernels, "tfidf_substitute", [SENTENCE], 0.5) == [SENTENCE]


def test_white_space_stays_between_the_words_that_stay(kernels):
    text = "  Brown\tfox,\n\n big  house\r\n"
    assert run(kernels, "synonym_replace", [text], 1.0) == ["  Brown\tfox,\n\n large  home\r\n"]
    after = run(kernels, "random_delete", [text] * 30, 0.25)
    assert "  fox,\n\n big  house\r\n" in after
    assert "  Brown\tfox,\n\n big\r\n" in after


def test_han_characters_are_words(kernels):
    after = run(kernels, "random_delete", ["我喜欢看电影"] * 50, 0.2)
    assert {len(text) for text in after} <= {4, 5}


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        ("great", ("", "great", "")),
        ('"(great!)"', ('"(', "great", '!)"')),
        ("well-known", ("", "well-known", "")),
        ("cafe\u0301.", ("", "cafe\u0301", ".")),
        ("...", ("", "...", "")),
        ("👍🏽ok👍🏽", ("👍🏽", "ok", "👍🏽")),
    ],
)
def test_signs_around_a_word_are_no_part_of_it(piece, expected):
    assert parts(piece) == expected


def test_pieces_and_what_is_between_them_make_the_text():
    for text in ("a b", " a  b\n", "", "a我们b ok", "\x1e x"):
        found, between = pieces(text)
        if between is None:
            assert " ".join(found) == text
        else:
            assert "".join(a + b for a, b in zip(between, [*found, ""], strict=True)) == text


def test_texts_with_the_sign_that_bounds_texts(kernels):
    texts = ["a \x1e b", "big \x1e", "big"]
    assert run(kernels, "synonym_replace", texts, 1.0) == ["a \x1e b", "large \x1e", "large"]


def test_a_lexicon_that_met_too_many_words_starts_over(monkeypatch):
    monkeypatch.setattr("policysearch.ops.lexicon.MAX_MET", 50)
    lexicon = Lexicon(thesaurus_of(THESAURUS))
    kernels = TextKernels(lexicon, count_words(["kept"]))
    size = len(lexicon)
    for i in range(10):
        texts = [f"word{i}x{j} quick" for j in range(30)]
        expected = [f"word{i}x{j} fast" for j in range(30)]
        assert run(kernels, "synonym_replace", texts, 1.0) == expected
    assert len(lexicon) < size + 100
    assert lexicon.find("kept")


def test_take_selects_texts():
    words = Words(np.array([1, 2, 3, 4, 5, 6], np.int32), np.array([0, 2, 2, 3, 6]))
    taken = words.take(np.array([3, 1, 0]))
    assert taken.ids.tolist() == [4, 5, 6, 1, 2]
    assert taken.edges.tolist() == [0, 3, 3, 5]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"op_index": [[1]]}, "op_index"),
        ({"op_index": [0]}, "shape"),
        ({"magnitude": [[1.01]]}, "range"),
        ({"magnitude": [[float("nan")]]}, "range"),
        ({"magnitude": [[-0.1]]}, "range"),
        ({"draws": [[0.5]]}, "draws"),
        ({"draws": [[[1.0]]]}, "draws"),
    ],
)
def test_wrong_arguments_say_which_rule_they_break(kernels, change, text):
    arguments = {"op_index": [[0]], "magnitude": [[0.5]], "draws": [[[0.5]]]} | change
    words = kernels.lexicon.encode([SENTENCE]).words
    with pytest.raises(InvalidValueError, match=text):
        kernels.edit(words, ["random_delete"], **arguments)


def test_an_unknown_op_suggests_the_nearest(kernels):
    with pytest.raises(UnknownNameError, match="Did you mean 'random_swap'"):
        kernels.apply(["a"], ["random_swop"], [[0]], [[0.1]], [[[0.5]]])


def test_the_shipped_table_is_the_pinned_one():
    """What `text-1` means includes its synonyms: another table is another version."""
    table = shipped_thesaurus()
    assert table.digest == "d74ec411456b02a3"
    assert table.of("movie") == ("film", "picture", "pic", "flick")
    assert table.of("xyzzy") == ()


def test_every_magnitude_is_a_fraction():
    for spec in op_table("text").values():
        assert spec.units == (() if spec.name == "identity" else ("fraction",))
        assert spec.low == 0.0
