"""What each artifact is made by: code and hyper-parameters, as a rule's parameter, in its metadata, and in `collect`."""

from types import SimpleNamespace

from workflow_scripts.common import fingerprint

# step -> the axes of a cell whose methods' code it runs, and those whose hyper-parameters it writes down
STEPS = {
    "prepare_data": ("dataset", "dataset"),
    "draw_holdout": ("dataset", "dataset"),
    "poison": ("attack", "attack"),
    "train": ("model", "model"),
    "implant": ("attack model", "attack model"),
    "train_auxiliary": ("auxiliary backbone", "auxiliary backbone"),
    "defend": ("defense model", "defense model"),
    "evaluate": ("model", "attack defense model"),
    "analyze": ("analysis model", "analysis defense model"),
}


def method(axis, w):
    """The name and the resolved hyper-parameters of the method that an axis of a cell names."""
    if axis == "dataset":
        return CONFIG.loader(w.dataset)
    spelling = method("auxiliary", w)[1]["backbone"] if axis == "backbone" else getattr(w, axis)
    return catalog.name(spelling), catalog.resolve(catalog.KIND_OF_AXIS[axis], spelling, CONFIG.of(w.dataset))


def made(step):
    """Parameter: the fingerprint and the hyper-parameters that the step writes into the metadata of what it makes."""
    code, params = map(str.split, STEPS[step])
    return lambda w: {
        "fingerprint": fingerprint.of_code(step, *((catalog.KIND_OF_AXIS[axis], method(axis, w)[0]) for axis in code)),
        "params": {axis: method(axis, w)[1] for axis in params},
    }


def provenance(cells):
    """What every artifact behind these cells must have been made by, by its path below ROOT."""
    found = {}
    for cell in cells:
        training = "implant" if implanted(cell) else "train"
        steps = {
            DATASET + "/train.parquet": "prepare_data",
            DATASET + "/test.parquet": "prepare_data",
            attacked(cell, "truth.parquet"): "implant" if implanted(cell) else "poison",
            DEFENSE + "/metrics.json": "evaluate",
            judged(cell): "defend",
            KEPT["clean_victim"](cell, {}): "train",
            KEPT["retrained"](cell, {}): "train",
            VICTIM + "/victim.safetensors": training,
        }
        if extractor := method("model", cell)[1].get("extractor"):
            steps[auxiliary(cell, extractor) + "/model.safetensors"] = "train_auxiliary"
        for path, step in steps.items():
            path = path.format(**cell._asdict()).removeprefix(f"{ROOT}/")
            if path not in found:
                by = made(step)(SimpleNamespace(**cell._asdict(), auxiliary=extractor))
                found[path] = fingerprint.of_artifact(by["fingerprint"], by["params"])
    return found


def costing(megabytes, minutes):
    """Resources that grow with the attempt."""
    return {"mem_mb": lambda w, attempt: megabytes * attempt, "runtime": lambda w, attempt: minutes * attempt}
