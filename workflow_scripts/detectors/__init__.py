"""What a detector is: a frozen dataclass whose call is handed what its signature names, and returns a score and a
verdict for each published training image, or one of the model. As with a defense, the signature is the threat model.

A defense uses one by a field that names it: `filter` trains on what its `by` does not flag.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Detector:
    """`scores.parquet` is the `Scores` that the call returns; what it logs goes beside it."""
