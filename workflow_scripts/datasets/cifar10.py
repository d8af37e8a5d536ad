"""CIFAR-10, as torchvision reads it."""

import functools
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.datasets import Dataset, from_arrays

HOST = "www.cs.toronto.edu"
ARCHIVE, UNPACKED = "cifar-10-python.tar.gz", "cifar-10-batches-py"
"""What torchvision downloads and what is in it, named without importing torchvision."""
PATIENCE = 2.0
"""Seconds in which a network answers."""


@dataclass(frozen=True)
class Cifar10(Dataset):
    """60,000 images of 32x32 pixels, 50,000 of them to train (Krizhevsky 2009). Normalised as BackdoorBench does.

    folder: where `cifar-10-batches-py/` lies; downloaded there where there is a network and it does not.
    """

    folder: str = ""

    train_counts = (5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000)

    def missing(self) -> str:
        with suppress(OSError):  # a folder that may not be read
            if self._is_unpacked():
                return ""
        return "" if is_online(HOST) else self._explain(f"{self.folder}/{UNPACKED} is no folder, {HOST} not reachable")

    def load(self) -> tuple[Images, Images]:
        from torchvision.datasets import CIFAR10

        parts = []
        for train in (True, False):
            try:
                part = CIFAR10(self.folder, train=train, download=not self._is_unpacked())
            except (RuntimeError, OSError, EOFError, KeyError, ValueError) as error:
                raise UserError(self._explain(" ".join(str(error).split())[:150])) from None
            parts.append((part.data, np.asarray(part.targets)))
        images = from_arrays(parts[0], parts[1], part.classes)
        mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)
        first, second = (replace(data, format=replace(data.format, mean=mean, std=std)) for data in images)
        return first, second

    def _is_unpacked(self) -> bool:
        return Path(self.folder, UNPACKED).is_dir()

    def _explain(self, reason: str) -> str:
        """That CIFAR-10 is not to be had for this reason, and what to put where."""
        return (
            f"CIFAR-10 is not to be had: {reason}. Unpack {ARCHIVE} from https://{HOST}/~kriz/cifar.html so that "
            f"{self.folder}/{UNPACKED}/data_batch_1 is there and whole"
        )


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
