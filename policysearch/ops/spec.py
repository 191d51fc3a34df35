"""The declaration of one operation: what the tables are made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpSpec:
    """Declaration of one operation.

    Attributes:
      name: snake_case word.
      family: Group within its modality, such as `geometry`: which kernel module computes it.
      summary: One sentence: what it does to a sample.
      source: Paper and table, or library, that the operation or its range comes from.
      units: Accepted units; the first is the default. Empty: the op has no magnitude.
      low: Magnitude at level 0 (the identity or the weakest form).
      high: Magnitude at level 1. Above `low`, unless strength rises as the number falls: a ratio
        of signal to noise, a cut-off frequency of a low-pass.
      maximum: Largest magnitude that has a meaning, in the default unit.
      minimum: Smallest magnitude that has a meaning, in the default unit.
      is_signed: The sign of the magnitude is drawn with equal chance.
      is_identity_at_low: Magnitude `low` leaves the sample as it is.
      min_channels: With fewer channels the op has nothing to change and is the identity.
      needs_depth: The op moves through the depth of volumes; flat images stay as they are.
      n_draws: Uniform numbers used per application, beyond sign and magnitude.
      needs_batch: The op takes something from other samples of the batch; alone, a sample stays
        as it is.
      needs_labels: The op looks at the classes of the samples.
      needs_model: The op asks the model that is being trained.
      needs_fit: The op draws from a generator that was fitted to training samples.
      changes_targets: The sample comes to belong to several classes, each to a share.
    """

    name: str
    family: str
    summary: str
    source: str
    units: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    maximum: float = 1.0
    minimum: float = 0.0
    is_signed: bool = False
    is_identity_at_low: bool = True
    min_channels: int = 1
    needs_depth: bool = False
    n_draws: int = 0
    needs_batch: bool = False
    needs_labels: bool = False
    needs_model: bool = False
    needs_fit: bool = False
    changes_targets: bool = False

    @property
    def has_magnitude(self) -> bool:
        """Whether the op takes a magnitude."""
        return bool(self.units)

    @property
    def unit(self) -> str | None:
        """Default unit of the magnitude."""
        return self.units[0] if self.units else None

    @property
    def is_falling(self) -> bool:
        """Whether a smaller magnitude is the stronger one."""
        return self.high < self.low

    def magnitude(self, level: float) -> float:
        """Magnitude at a level in [0, 1], in the default unit; linear between `low` and `high`."""
        return self.low + (self.high - self.low) * level
