"""The types a model file may hold beyond what skops trusts by itself (scikit-learn's public estimators, numpy's arrays).

The list lives here, in the repository; what an artefact says of itself is not read. It is what logistic regression,
histogram gradient boosting and forests need behind the preparation of ``tasks.science.estimators``, and nothing more.
"""

from __future__ import annotations

TRUSTED = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
