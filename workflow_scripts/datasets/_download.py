"""Data sets that others publish as archives: whether they are there, how they are fetched, what to put where."""

import functools
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies

from workflow_scripts.common.errors import UserError
from workflow_scripts.datasets import Dataset

PATIENCE = 2.0
"""Seconds in which a network answers."""


@dataclass(frozen=True)
class Published(Dataset):
    """folder: where the data set lies; downloaded there where there is a network and it does not."""

    folder: str = ""

    title = ""
    """What it is called."""
    host = ""
    """Where it is downloaded from; nothing for one that is not."""

    def parts(self) -> tuple[str, ...]:
        """The files and folders, below `folder`, that make up the whole, named without importing torchvision."""
        raise NotImplementedError

    def remedy(self) -> str:
        """What to put where, a sentence without its full stop."""
        raise NotImplementedError

    def sources(self) -> tuple[Path, ...]:
        return tuple(Path(self.folder, part) for part in self.parts())

    def missing(self) -> str:
        absent = self.find_absent()
        if not absent or (self.host and is_online(self.host)):
            return ""
        reach = f", {self.host} not reachable" if self.host else ""
        return self._explain(f"{Path(self.folder, absent[0])} is not there{reach}")

    def find_absent(self) -> list[str]:
        """The parts that are not there."""
        return [part for part in self.parts() if not _exists(Path(self.folder, part))]

    def fetch(self, download: Callable[[str], object]) -> None:
        """Have `download` fill a folder, and take from there the parts that are absent: beside their places and then
        renamed, so that one that is there is whole."""
        if absent := self.find_absent():
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=".download-", dir=self.folder) as temporary:
                download(temporary)
                for part in absent:
                    place = Path(self.folder, part)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    Path(temporary, part).rename(place)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """A block that fetches and reads: one UserError, with what to put where, whatever is wrong."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:150] or type(error).__name__
            raise UserError(self._explain(reason)) from None

    def _explain(self, reason: str) -> str:
        return f"{self.title} is not to be had: {reason}. {self.remedy()}"


def _exists(path: Path) -> bool:
    with suppress(OSError):  # a folder that may not be read
        return path.exists()
    return False


@functools.cache
def is_online(host: str) -> bool:
    """Whether `host`, or the proxy that leads there, accepts a connection for HTTPS in two seconds."""
    answers: list[bool] = []

    def connect() -> None:
        with suppress(OSError, ValueError):
            proxy = urlsplit(getproxies().get("https", ""))
            address = (proxy.hostname, proxy.port or 80) if proxy.hostname else (host, 443)
            with socket.create_connection(address, PATIENCE):
                answers.append(True)

    asking = Thread(target=connect, daemon=True)  # looking up a name has no timeout of its own
    asking.start()
    asking.join(PATIENCE)
    return bool(answers)
