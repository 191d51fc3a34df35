"""From the user's data to splits: sources, checks, splits, duplicates.

Everything that can be wrong with data is found here, before any training starts, and said in the
user's words. Later rooms see only `Dataset` values that passed.
"""

from policysearch.data.dataset import Dataset, Source
from policysearch.data.source import load_source

__all__ = ["Dataset", "Source", "load_source"]
