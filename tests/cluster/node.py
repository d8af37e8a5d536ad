"""A real Slurm of one node on loopback, with two GPUs that are none and the account `lab`. It takes root, and Debian's
slurm-wlm, slurmdbd, munge, mariadb-server."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ETC = Path("/etc/slurm")
"""Where jobs look, who lose SLURM_CONF. Left behind, slurm.conf would cost every start of Snakemake nine seconds."""
WRITTEN = ("slurm.conf", "slurmdbd.conf", "gres.conf")
PROFILE = ("--profile", "slurm", "--cores", "1", "--slurm-init-seconds-before-status-checks", "1")
"""Snakemake's arguments: the profile, whose `cores` the tests' own would replace, asking soon how a job is."""
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")
MUNGE = {"/run/munge": 0o755, "/var/log/munge": 0o700, "/var/lib/munge": 0o700}
DATABASE = """create database if not exists slurm_acct_db;
create user if not exists slurm@127.0.0.1 identified by 'slurm';
create user if not exists slurm@localhost identified by 'slurm';
grant all on slurm_acct_db.* to slurm@127.0.0.1; grant all on slurm_acct_db.* to slurm@localhost;"""
ACCOUNT = (
    ("add", "cluster", "test"),
    ("add", "account", "lab", "Description=lab", "Organization=lab"),
    ("add", "user", "root", "Account=lab", "DefaultAccount=lab"),
)


@contextmanager
def slurm_node(folder: Path) -> Iterator[None]:
    """Slurm, from nothing to an idle node, and away again; it runs in an empty folder."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    packages = "slurm-wlm slurmdbd munge mariadb-server"
    assert not missing, f"no {missing}: apt-get install -y --no-install-recommends {packages}"
    assert not (ETC / "slurm.conf").exists(), f"{ETC}/slurm.conf is there: this machine is part of a cluster"
    write_configuration(folder)
    start_munge()
    try:
        start_accounting(folder)
        run("slurmctld", "-c")
        run("slurmd")
        wait_for(lambda: run("sinfo", "-h", "-o", "%T").strip() == "idle")
        yield
    finally:
        for name in ("slurmd", "slurmctld", "slurmdbd", "mariadbd"):
            stop(folder / f"{name}.pid")
        for name in WRITTEN:
            (ETC / name).unlink()


def write_configuration(folder: Path) -> None:
    """That of the node, and its GPUs: device nodes, for plain files get jobs no CUDA_VISIBLE_DEVICES."""
    host = os.uname().nodename.split(".")[0]
    for name in ("state", "spool", "dev"):
        (folder / name).mkdir()
    for number in (0, 1):
        os.mknod(folder / f"dev/gpu{number}", 0o20666, os.makedev(1, 3))
    ETC.mkdir(exist_ok=True)
    values = {"HOST": host, "RUN": folder, "CPUS": os.cpu_count(), "MB": int(total_memory() * 0.8)}
    for name in WRITTEN:
        text = (HERE / name).read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        (ETC / name).write_text(text)
    (ETC / "slurmdbd.conf").chmod(0o600)  # it refuses to start with another


def total_memory() -> int:
    """Of the machine, in MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def start_munge() -> None:
    """Munge, which signs what Slurm's programs say to each other; one that runs is left alone."""
    if signs():
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
    wait_for(signs)


def signs() -> bool:
    """Whether Munge runs."""
    return subprocess.run("munge -n | unmunge", shell=True, capture_output=True).returncode == 0


def start_accounting(folder: Path) -> None:
    """A database of its own, and in it the account that the profile names."""
    data, socket = folder / "db", folder / "db.sock"
    run("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}")
    options = (f"--socket={socket}", "--bind-address=127.0.0.1", "--port=16833", f"--pid-file={folder}/mariadbd.pid")
    memory = ("--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900")
    with (folder / "mariadbd.log").open("w") as log:
        command = ["mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", *options, *memory]
        subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    client = ("mariadb", "--no-defaults", "-S", str(socket), "-u", "root")
    wait_for(lambda: subprocess.run([*client, "-e", "select 1"], capture_output=True).returncode == 0)
    run(*client, "-e", DATABASE)
    run("slurmdbd")
    wait_for(lambda: subprocess.run(["sacctmgr", "-n", "show", "cluster"], capture_output=True).returncode == 0)
    for words in ACCOUNT:
        run("sacctmgr", "-ni", *words)


def run(*command: str) -> str:
    """What a command says; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
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
