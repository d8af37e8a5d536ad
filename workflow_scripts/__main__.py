"""`python -m workflow_scripts [NAME ...]`: which methods there are, and what a study may set of them."""

import signal
import sys
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.common import config
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.listing import NO_CONFIG, write_listing

CONFIG = Path("config.yaml")


def read_raw() -> Any:
    """What the configuration says; nothing where there is none. (`documents.read_yaml` would import NumPy.)"""
    try:
        return (yaml.safe_load(CONFIG.read_text(encoding="utf-8")) or {}) if CONFIG.exists() else None
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise UserError(f"{CONFIG}: not YAML: {' '.join(str(error).split())}") from None


signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that has seen enough, `head`, is no error
try:
    print(write_listing(sys.argv[1:], NO_CONFIG if (raw := read_raw()) is None else config.read(raw)))
except UserError as error:
    sys.exit(f"backstop: {error}")
