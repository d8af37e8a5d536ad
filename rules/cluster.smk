"""Several cells of a victim are one job of a cluster (`group-components: {cells: 4}`). Snakemake stops such a job at the
first that fails, and removes what all of them have made."""


def cells_of_victim(w):
    """Group: the cells of a victim; one that has failed goes alone, so that it takes no others with it again."""
    logs = [log_of(rule, DEFENSE).format(**w) for rule in ("defend", "evaluate")]
    alone = any(map(messages.is_unfinished, logs))
    group = "_".join(value for axis, value in w.items() if alone or axis != "defense")[:200]    # a folder's name
    workflow.parent_groupids[group] = "cells"    # by which `group-components` are counted
    return group


CELLS_OF_VICTIM = cells_of_victim if workflow.is_main_process and workflow.nodes else None
