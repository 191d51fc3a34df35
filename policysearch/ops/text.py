"""The table of text operations, version `text-1`. Magnitudes are fractions of words or characters.

Sources: EDA = Wei & Zou, EDA, 2019 (arXiv:1901.11196); AEDA = Karimi et al., AEDA, 2021
(arXiv:2108.13230); UDA = Xie et al., Unsupervised Data Augmentation, 2020 (arXiv:1904.12848);
TAA = Ren et al., Text AutoAugment, 2021 (arXiv:2109.00523); Noising = Xie et al., Data Noising as
Smoothing, 2017 (arXiv:1703.02573); Typos = Pruthi et al., Combating Adversarial Misspellings, 2019
(arXiv:1905.11268).

What all of them keep:

* A magnitude m on n words changes m * n of them: the whole part for certain, one more with the
  chance of the rest. Magnitude 0 is the identity, and a stronger magnitude changes the same words
  and more.
* Negations ("not", "never", "don't", ...) are not replaced, moved, misspelt or removed.
* A text with a word keeps one.
* A character is not torn from its combining marks, and nothing but letters and digits is edited.
"""

from __future__ import annotations

from policysearch.ops.spec import OpSpec

FRACTION = "fraction"

TEXT_OPS: tuple[OpSpec, ...] = (
    OpSpec("identity", "word", "Leaves the text as it is.", "TrivialAugment 2021, table 1"),
    OpSpec(
        "synonym_replace", "word", "Replaces words by one of their synonyms, stop words left out.",
        "EDA, figure 2: 0.05 to 0.5; TAA: to 0.5; 0.4 is ours", units=(FRACTION,), high=0.4,
        n_draws=1,
    ),
    OpSpec(
        "random_insert", "word", "Inserts synonyms of words of the text at random places.",
        "EDA, figure 2: 0.05 to 0.5; 0.3 is ours", units=(FRACTION,), high=0.3,
        maximum=0.5, n_draws=1,
    ),
    OpSpec(
        "random_swap", "word", "Swaps two random words, m times the number of words.",
        "EDA, figure 2: 0.05 to 0.5; TAA: to 0.5; 0.3 is ours", units=(FRACTION,), high=0.3,
        n_draws=1,
    ),
    OpSpec(
        "random_delete", "word", "Removes words.",
        "EDA, figure 2: 0.05 to 0.5; TAA: to 0.5; 0.3 is ours", units=(FRACTION,), high=0.3,
        n_draws=1,
    ),
    OpSpec(
        "unk_dropout", "word", "Replaces words by the sign for an unknown word.",
        "Noising (blank noising); 0.3 is ours", units=(FRACTION,), high=0.3,
        n_draws=1,
    ),
    OpSpec(
        "punctuation_insert", "word", "Inserts marks out of . ; ? : ! , before random words.",
        "AEDA: up to a third of the words", units=(FRACTION,), high=0.33,
        maximum=0.5, n_draws=1,
    ),
    OpSpec(
        "tfidf_substitute", "word",
        "Replaces words of low TF-IDF by uninformative words of the training data.",
        "UDA, appendix on TF-IDF word replacement; TAA: to 0.5", units=(FRACTION,),
        high=0.5, n_draws=1,
    ),
    OpSpec(
        "keyboard_typo", "character", "Replaces letters by a neighbour on an English keyboard.",
        "Typos; nlpaug KeyboardAug: 0.3 of the characters of a word; 0.15 is ours",
        units=(FRACTION,), high=0.15, n_draws=1,
    ),
    OpSpec(
        "char_swap", "character", "Swaps neighbouring characters within words.",
        "Typos; 0.15 is ours", units=(FRACTION,), high=0.15, n_draws=1,
    ),
    OpSpec(
        "char_delete", "character", "Removes characters from words.",
        "Typos; 0.15 is ours", units=(FRACTION,), high=0.15, n_draws=1,
    ),
    OpSpec(
        "span_crop", "word", "Keeps a run of words at a random place and removes the others.",
        "nlpaug RandomWordAug (crop): 0.3; 0.4 is ours", units=(FRACTION,), high=0.4, n_draws=1,
    ),
)  # fmt: skip
