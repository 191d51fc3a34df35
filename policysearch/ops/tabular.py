"""The table of operations on rows of a table, version `tabular-1`. Magnitudes are natural units.

A row has columns of numbers and columns of categories. What an operation needs to know of the
columns (deviation, mean, values that occur, rows of a class) it learns from the training rows
alone, so a row's result depends on the row and its draws, never on its neighbours in a batch.
Noise is measured in the column's own standard deviation (unit `std`): a policy means the same
before and after scaling. A missing value (NaN) stays missing, a known one stays known, and the
class of a row stays right: nothing is taken from rows of another class but single cells, the more
the higher the magnitude.

Sources: SMOTE = Chawla et al., SMOTE: synthetic minority over-sampling technique, 2002
(arXiv:1106.1813), sections 4.2 and 6.1; DAE = Vincent et al., Extracting and composing robust
features with denoising autoencoders, 2008 (ICML), section 2.3; SCARF = Bahri et al., SCARF, 2022
(arXiv:2106.15147), section 3.
"""

from __future__ import annotations

from policysearch.ops.spec import OpSpec

FRACTION = "fraction"

TABULAR_OPS: tuple[OpSpec, ...] = (
    OpSpec("identity", "cells", "Leaves the row as it is.", "the empty operation"),
    OpSpec(
        "gaussian_noise", "cells", "Adds a normal number with deviation m to every number.",
        "Bishop, 1995 (Neural Computation 7:108, training with noise); range to 0.3 is ours",
        units=("std",), high=0.3, maximum=10.0, n_draws=1,
    ),
    OpSpec(
        "swap_noise", "cells",
        "Replaces each cell with chance m by a value of its column, as often as it occurs.",
        "SCARF: 0.6 for contrasts; range to 0.3 is ours", units=(FRACTION,), high=0.3, n_draws=2,
    ),
    OpSpec(
        "feature_dropout", "cells",
        "Replaces each cell with chance m by the column's mean or most frequent category.",
        "DAE: masking noise, 0.1 to 0.4", units=(FRACTION,), high=0.3, n_draws=1,
    ),
    OpSpec(
        "categorical_resample", "cells",
        "Replaces each category with chance m by one of its column, as often as it occurs.",
        "SCARF, on columns of categories; range to 0.3 is ours", units=(FRACTION,), high=0.3,
        n_draws=2, min_channels=2,
    ),
    OpSpec(
        "interpolate", "rows",
        "Goes m of the way to one of the 5 nearest rows of its class; categories with chance m.",
        "SMOTE: uniform in 0 to 1, 5 neighbours; range to 0.5 is ours", units=(FRACTION,),
        high=0.5, n_draws=2, needs_labels=True,
    ),
)  # fmt: skip
