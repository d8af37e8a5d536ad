"""What an analysis is: a frozen dataclass whose call measures one cell, and returns a table and what it is about.

It may name the truth, and what it asks for decides where it is made: for each victim, or for each defended model.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Measured = tuple[pa.Table, dict[str, Any]]
"""Rows, and facts for the metadata of their file."""


@dataclass(frozen=True)
class Analysis:
    """`results/analyses/{analysis}/…parquet` is what the call returns."""
