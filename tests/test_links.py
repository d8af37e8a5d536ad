"""What the documents link to is there: the file, and the heading in it."""

import re
import subprocess
from pathlib import Path

import pytest
from checkout import HERE

DOCUMENTS = subprocess.check_output(["git", "ls-files", "*.md"], cwd=HERE, text=True).split()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", (HERE / document).read_text())
    for path, _, heading in (link.partition("#") for link in links if "://" not in link):
        target = (HERE / document).parent / path if path else HERE / document
        assert target.exists(), path
        assert not heading or heading in list_anchors(target), heading


def list_anchors(document: Path) -> set[str]:
    """As GitHub makes them of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
