"""A Gaussian for each class in the space of the principal components of all."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from policysearch.generators.base import Layout, Tensors, each_row
from policysearch.generators.encoding import EncodedGenerator, Encoding
from policysearch.generators.samples import FitData, Frame
from policysearch.ops.noise import normals
from policysearch.seeding import derive_seed

MAX_COMPONENTS = 64
VARIANCE = 0.95
#: A class of fewer samples gets the covariance that is common to all classes.
TINY = 8

_Matrix = NDArray[np.float64]


class GaussianGenerator(EncodedGenerator):
    """Means and covariances of classes in a shared space of `k` principal components.

    Tensors: `centre (e,)`, `basis (e, k)`, `means (c, k)` and `factors (c, k, k)`, whose products
    with their transposes are the covariances; float32.

    References:
      Ledoit & Wolf, A well-conditioned estimator for large-dimensional covariance matrices,
      Journal of Multivariate Analysis 88, 2004. Steps between samples in a space of features:
      DeVries & Taylor, Dataset Augmentation in Feature Space, 2017 (arXiv:1702.05538).
    """

    kind = "gaussian"
    has_latents = True

    def __init__(self, frame: Frame, tensors: Tensors) -> None:
        super().__init__(frame, tensors)
        names = ("centre", "basis", "means", "factors")
        parts = [torch.from_numpy(tensors[name]).clone() for name in names]
        self._centre, self._basis, self._means, self._factors = parts

    @property
    def n_latents(self) -> int:
        """Components, `k`."""
        return self._basis.shape[1]

    @classmethod
    def own_layout(cls, width: int, n_classes: int) -> Layout:
        """The tensors of the class text (see `EncodedGenerator`)."""
        return {
            "centre": ("float32", (width,)),
            "basis": ("float32", (width, "components")),
            "means": ("float32", (n_classes, "components")),
            "factors": ("float32", (n_classes, "components", "components")),
        }

    def _sample(
        self,
        labels: NDArray[np.int64],
        temperature: NDArray[np.float64],
        seeds: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        z = each_row(
            lambda label, scale, seed: (
                self._means[label]
                + self._factors[label] @ (scale * normals(seed[None], self.n_latents)[0])
            ),
            torch.from_numpy(labels),
            torch.from_numpy(temperature).to(torch.float32),
            torch.from_numpy(seeds),
        )
        return self._decode(z.numpy(), labels)

    def _encode(self, x: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        del labels  # the space is common to all classes
        vectors = self.encoding.encode(x)
        z = each_row(lambda row: (row - self._centre) @ self._basis, vectors)
        return np.asarray(z.numpy())

    def _decode(self, z: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        del labels
        rows = torch.from_numpy(z)
        return self.encoding.decode(each_row(lambda z: self._centre + self._basis @ z, rows))


def fit_gaussian(data: FitData, seed: int) -> GaussianGenerator:
    """Fits components, means and covariances.

    At most 64 components, no more than explain 95 % of the variance, of all samples and within
    classes. Covariances are shrunk where
    all classes together have unit variance, so that shrinking goes towards what is common to them.

    Args:
      data: Training samples.
      seed: Of the randomised decomposition of large matrices.
    """
    encoding = Encoding.fit(data)
    vectors = encoding.encode(data.x).numpy().astype(np.float64)
    centre = vectors.mean(axis=0)
    basis = _principal(vectors - centre, data.y, seed)
    z = (vectors - centre) @ basis
    means = np.zeros((data.n_classes, basis.shape[1]))
    for label in np.unique(data.y):
        means[label] = z[data.y == label].mean(axis=0)
    factors = _factors(z - means[data.y], data)
    own = {"centre": centre, "basis": basis, "means": means, "factors": factors}
    tensors = {name: np.ascontiguousarray(part, np.float32) for name, part in own.items()}
    return GaussianGenerator(data.frame, {**encoding.tensors(), **tensors})


def _principal(centred: _Matrix, y: NDArray[np.int64], seed: int) -> _Matrix:
    """Principal directions `(e, k)` of centred vectors `(n, e)`; none where nothing varies."""
    from sklearn.decomposition import PCA

    n_components = min(MAX_COMPONENTS, len(centred) - 1, centred.shape[1])
    if n_components < 1 or not centred.any():
        return np.zeros((centred.shape[1], 0))
    state = derive_seed(seed, "components") % 2**32
    pca = PCA(n_components, random_state=state).fit(centred)
    within = centred.copy()
    for label in np.unique(y):
        within[y == label] -= within[y == label].mean(axis=0)
    # Where classes lie far apart, what varies within them is little of the whole.
    explained = [pca.explained_variance_ratio_]
    if within.any():
        explained.append(((within @ pca.components_.T) ** 2).sum(axis=0) / (within**2).sum())
    n_kept = 1 + max(int(np.searchsorted(share.cumsum(), VARIANCE)) for share in explained)
    return np.asarray(pca.components_[:n_kept].T)


def _factors(residuals: _Matrix, data: FitData) -> _Matrix:
    """Factors `(c, k, k)` of the covariances of residuals `(n, k)` from the means of classes."""
    from sklearn.covariance import ledoit_wolf

    n, k = residuals.shape
    spread = np.sqrt((residuals**2).sum(axis=0) / max(1, n - len(np.unique(data.y))))
    factors = np.zeros((data.n_classes, k, k))
    if not spread.any():
        return factors
    scaled = residuals / np.where(spread > 0, spread, 1.0)
    pooled = ledoit_wolf(scaled, assume_centered=True)[0]
    for label in np.unique(data.y):
        own = scaled[data.y == label]
        covariance = pooled
        if len(own) >= TINY and own.any():
            covariance = ledoit_wolf(own, assume_centered=True)[0] * len(own) / (len(own) - 1)
        variances, axes = np.linalg.eigh(covariance)
        factors[label] = spread[:, None] * axes * np.sqrt(np.maximum(variances, 0.0))
    return factors
