"""What an attack leaves: one file that it publishes, and one that it keeps to itself."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from workflow_scripts.attacks import Attack, Poison
from workflow_scripts.common import image_files, truth
from workflow_scripts.common.images import Images


def publish(poison: Poison, attack: Attack, test: Images, output: Any, about: Mapping[str, Any]) -> None:
    """Write the altered training images to `output.poison`; to `output.truth` which they are, and every test image that
    ASR counts with its trigger."""
    image_files.write_images(output.poison, poison.altered, about)
    rows, labels = attack.asr_subset(test.labels, len(test.format.classes))
    clean = test[rows]
    triggered = replace(clean, images=poison.trigger(clean.images), labels=labels)
    truth.write(output.truth, poison.altered, poison.roles, poison.original_labels, clean, triggered, about)
