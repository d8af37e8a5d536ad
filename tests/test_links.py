"""What the documents link to is there: the file, and the heading in it; what they repeat is the same."""

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


def test_the_readme_leads_with_the_table_of_its_report() -> None:
    """`python -m benchmarks.cifar10_small` prints it; nobody types its numbers."""
    lead = (HERE / "README.md").read_text().partition("\n## ")[0]
    rows = [line for line in lead.splitlines() if line.startswith("|")]
    assert len(rows) > 2 and "\n".join(rows) in (HERE / "benchmarks/cifar10_small.md").read_text()


def list_anchors(document: Path) -> set[str]:
    """As GitHub makes them of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
