"""`python -m workflow_scripts [NAME ...]`: which methods there are, and what a study may set of them."""

import signal
import sys
from pathlib import Path

import yaml

from workflow_scripts.common import config
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.listing import NO_CONFIG, write_listing

CONFIG = Path("config.yaml")

signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that has seen enough, `head`, is no error
try:
    read = config.read(yaml.safe_load(CONFIG.read_text(encoding="utf-8")) or {}) if CONFIG.exists() else NO_CONFIG
    print(write_listing(sys.argv[1:], read))
except UserError as error:
    sys.exit(f"backstop: {error}")
except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
    sys.exit(f"backstop: {CONFIG}: not YAML: {' '.join(str(error).split())}")
