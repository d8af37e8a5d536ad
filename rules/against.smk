"""What has moved since another commit."""

import subprocess


def commit_asked_for(w):
    """Parameter: the commit that is asked for, which git must know before anything is computed."""
    if not CONFIG.commit:
        raise WorkflowError("backstop: against which commit? Say it by --config commit=HEAD~1")
    found = subprocess.run(["git", "rev-parse", "--verify", f"{CONFIG.commit}^{{commit}}"], capture_output=True, text=True)
    if found.returncode:
        said = " ".join(found.stderr.split())
        raise WorkflowError(f"backstop: git finds no commit {CONFIG.commit!r} here ({said}); name another by --config commit=…")
    return found.stdout.strip()    # a name like HEAD~1 is another commit tomorrow


rule against:    # snakemake --cores all against --config commit=HEAD~1
    input: metrics=lambda w: [f"results/metrics/{name}.parquet" for name in all_studies()],
           costs=lambda w: [f"results/costs/{name}.parquet" for name in all_studies()]
    output: parquet="results/against.parquet", md="results/against.md"
    log: LOGS + "/against.log"
    params: name=CONFIG.commit, commit=commit_asked_for, code=lambda w: fingerprint.of_step("against")
    script: "../workflow_scripts/against.py"
