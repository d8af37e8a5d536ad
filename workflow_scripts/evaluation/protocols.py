"""Asking a model as a protocol says: which images share a batch."""

from collections.abc import Iterator

import numpy as np

from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model, Protocol
from workflow_scripts.training.inference import logits, predict, predicted_class

Rows = np.ndarray


def predict_under(
    model: Model, protocol: Protocol, test: np.ndarray, triggered: np.ndarray, run: Run
) -> tuple[np.ndarray, np.ndarray]:
    """int64 predictions (-1: none) for both sets of uint8 images (N, H, W, C).

    The batches of a protocol are drawn from both sets in random orders. A set that ends within a batch starts again,
    so that all batches are full; the last answer to an image counts.
    """
    if model.wrapper:
        model.wrapper.ask(model, protocol)
    if not protocol.batch:
        return predict(model, test), predict(model, triggered)
    orders = [run.numpy_rng(f"protocol/{key}").permutation(len(images)) for key, images in enumerate((test, triggered))]
    found = [np.full(len(order), -1) for order in orders]
    for rows in protocol_batches(protocol, orders[0], orders[1]):
        together = np.concatenate([test[rows[0]], triggered[rows[1]]])
        given = predicted_class(logits(model, together, len(together)))
        for predictions, chosen, part in zip(found, rows, np.split(given, [len(rows[0])]), strict=True):
            predictions[chosen] = part
    return found[0], found[1]


def protocol_batches(protocol: Protocol, test: Rows, triggered: Rows) -> Iterator[tuple[Rows, Rows]]:
    """The rows of test images and of triggered images that share each batch, until all have been asked.

    At least one of each is in a mixed batch. Sets too small for a batch make it smaller, the share as it was.
    """
    none = test[:0]
    if protocol.triggered is None or not len(triggered):
        yield from ((rows, none) for rows in _split_in_rounds(test, protocol.batch))
        yield from ((none, rows) for rows in _split_in_rounds(triggered, protocol.batch))
        return
    share = protocol.triggered
    size = max(2, min(protocol.batch, int(len(test) / (1 - share)), int(len(triggered) / share)))
    among = min(max(1, round(share * size)), size - 1)
    clean, altered = _split_in_rounds(test, size - among), _split_in_rounds(triggered, among)
    for i in range(max(len(clean), len(altered))):
        yield clean[i % len(clean)], altered[i % len(altered)]


def _split_in_rounds(order: Rows, size: int) -> list[Rows]:
    """The order in parts of one size, the last one filled up from the start."""
    size = min(size, len(order))
    return [np.take(order, range(at, at + size), mode="wrap") for at in range(0, len(order), size or 1)] if size else []
