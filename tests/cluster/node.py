"""A real Slurm of one node on loopback, with two GPUs that are none. It takes root, and Debian's slurm-wlm, munge."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIGURATION = Path("/etc/slurm/slurm.conf")
"""Where jobs look, who lose SLURM_CONF. Left behind, it would cost every start of Snakemake nine seconds."""
MUNGE = {"/run/munge": 0o755, "/var/log/munge": 0o700, "/var/lib/munge": 0o700}


@contextmanager
def slurm_node(folder: Path) -> Iterator[None]:
    """Slurm, from nothing to an idle node, and away again; it runs in an empty folder."""
    missing = [name for name in ("slurmctld", "slurmd", "sinfo", "munged") if shutil.which(name) is None]
    assert not missing, f"no {missing}: apt-get install -y --no-install-recommends slurm-wlm munge"
    assert not CONFIGURATION.exists(), f"{CONFIGURATION} is there: this machine is part of a cluster"
    write_configuration(folder)
    start_munge()
    try:
        run("slurmctld", "-c")
        run("slurmd")
        wait_for(lambda: run("sinfo", "-h", "-o", "%T").strip() == "idle")
        yield
    finally:
        for name in ("slurmd", "slurmctld"):
            stop(folder / f"{name}.pid")
        CONFIGURATION.unlink()
        CONFIGURATION.with_name("gres.conf").unlink()


def write_configuration(folder: Path) -> None:
    """That of the node, and its GPUs: device nodes, for plain files get jobs no CUDA_VISIBLE_DEVICES."""
    host = os.uname().nodename.split(".")[0]
    for name in ("state", "spool", "dev"):
        (folder / name).mkdir()
    for number in (0, 1):
        os.mknod(folder / f"dev/gpu{number}", 0o20666, os.makedev(1, 3))
    text = Path(__file__).with_name("slurm.conf").read_text()
    values = {"HOST": host, "RUN": folder, "CPUS": os.cpu_count(), "MB": int(total_memory() * 0.8)}
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text(text)
    gpus = f"AutoDetect=off\nNodeName={host} Name=gpu Type=fake File={folder}/dev/gpu[0-1]\n"
    CONFIGURATION.with_name("gres.conf").write_text(gpus)


def total_memory() -> int:
    """Of the machine, in MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def start_munge() -> None:
    """Munge, which signs what Slurm's programs say to each other; one that runs is left alone."""
    if subprocess.run("munge -n | unmunge", shell=True, capture_output=True).returncode == 0:
        return
    for folder, mode in MUNGE.items():
        Path(folder).mkdir(exist_ok=True)
        Path(folder).chmod(mode)
        shutil.chown(folder, "munge", "munge")
    key = Path("/etc/munge/munge.key")
    if not key.exists():
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        shutil.chown(key, "munge", "munge")
    run("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged")
    wait_for(lambda: subprocess.run("munge -n | unmunge", shell=True, capture_output=True).returncode == 0)


def run(*command: str) -> str:
    """What a command says; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def wait_for(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Until it holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to be"
        time.sleep(0.2)


def stop(file: Path) -> None:
    """End the daemon whose process this file names, in a few seconds."""
    if not file.exists():
        return
    process = int(file.read_text())
    os.kill(process, signal.SIGTERM)
    for _ in range(50):
        if not Path(f"/proc/{process}").exists():
            return
        time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
