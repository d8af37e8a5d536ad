"""What a method is handed beside its data: a device, named random streams, a log, and a count of its work."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from workflow_scripts.common import arrow

if TYPE_CHECKING:
    import torch


@dataclass
class Run:
    """One execution of one method.

    Random choices draw from a stream named by (dataset, seed, purpose), so all cells of a seed share them and adding
    a cell changes no other. `notes` go into the metadata of the artifact, `rows` into its log. `passes`: how many
    images the networks have been shown, `forward`, and of how many gradients came back, `backward`.
    """

    dataset: str
    seed: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    passes: Counter[str] = field(default_factory=Counter)

    @property
    def device(self) -> "torch.device":
        """A GPU if there is one, otherwise the CPU."""
        import torch

        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def numpy_rng(self, purpose: str) -> np.random.Generator:
        """The stream of this purpose, from its start, for NumPy."""
        return np.random.default_rng(self._seed(purpose))

    def torch_rng(self, purpose: str) -> "torch.Generator":
        """The stream of this purpose, from its start, for torch; on the CPU, so that every device draws the same."""
        import torch

        return torch.Generator().manual_seed(self._seed(purpose))

    @contextmanager
    def seeded(self, purpose: str) -> Iterator[None]:
        """A block in which whatever asks torch's own generator, new layers or dropout, draws from this stream."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed(purpose))
            yield

    def _seed(self, purpose: str) -> int:
        named = f"{self.dataset}/{self.seed}/{purpose}".encode()
        return int.from_bytes(hashlib.sha256(named).digest()[:8]) >> 1

    def log(self, kind: str, **values: Any) -> None:
        """Add a row to the log: an `epoch`, a `unit` with its score, a `choice` that was made."""
        self.rows.append({"kind": kind, **values})

    def note(self, **facts: Any) -> None:
        """A fact for the metadata of what is made: `diverged` with its reason, `pruned_share`, …"""
        self.notes |= facts

    def log_table(self) -> pa.Table:
        """The log, its columns those of all rows; empty where a row has none."""
        columns = dict.fromkeys(["kind", *(key for row in self.rows for key in row)])
        return pa.table({key: arrow.to_column([row.get(key) for row in self.rows]) for key in columns})

    def write_log(self, path: str, about: dict[str, Any]) -> None:
        """The log as Parquet."""
        arrow.write_table(path, self.log_table(), about)
