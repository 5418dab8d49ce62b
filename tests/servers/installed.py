"""What is downloaded and compiled once per machine and kept in the user's cache, outside every checkout."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

from .needs import needs, unavailable

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bhi-fhir-tests"
LONGEST_S = 900


def java() -> tuple[str, str]:
    """The java to run and the class path that has HAPI FHIR and our own classes (tests/servers/hapi)."""
    run, compiler, mvn = needs("java", "javac", "mvn")
    sources = sorted((HERE / "hapi").glob("*.java"))

    def install(folder: Path) -> None:
        _call([mvn, "-B", "-ntp", "-q", "-f", str(HERE / "hapi" / "pom.xml"), "dependency:build-classpath",
               f"-Dmdep.outputFile={folder / 'classpath'}"])  # fmt: skip
        jars = (folder / "classpath").read_text()
        _call([compiler, "-proc:none", "-cp", jars, "-d", str(folder), *map(str, sources)])

    def intact(folder: Path) -> bool:
        # The jars stay in Maven's repository, which has a life of its own.
        return all(Path(jar).exists() for jar in (folder / "classpath").read_text().split(os.pathsep))

    folder = _kept("hapi", [HERE / "hapi" / "pom.xml", *sources], install, intact)
    return run, os.pathsep.join([str(folder), (folder / "classpath").read_text()])


def node(name: str = "medplum") -> tuple[str, Path]:
    """The node to run and the folder that has what tests/servers/{name} has, beside its packages."""
    run, npm = needs("node", "npm")
    sources = sorted((HERE / name).iterdir())

    def install(folder: Path) -> None:
        for source in sources:
            shutil.copy(source, folder)
        # Quiet about engines: Medplum asks for a newer node than Debian's, and runs on it all the same.
        _call([npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"], folder)

    return run, _kept(name, sources, install, lambda folder: True)


def _kept(name: str, sources: Iterable[Path], install: Callable[[Path], None], intact: Callable[[Path], bool]) -> Path:
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    folder = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / f"{name}.lock", timeout=LONGEST_S):
        if folder.exists() and not intact(folder):
            shutil.rmtree(folder)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as unfinished:
                install(Path(unfinished))
                Path(unfinished).rename(folder)  # whole or not at all
                Path(unfinished).mkdir()  # for its block to remove
    return folder


def _call(command: list[str], folder: Path | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        unavailable(f"{Path(command[0]).name}: not done after {LONGEST_S} s")
    if done.returncode:
        unavailable(f"{Path(command[0]).name} failed, perhaps for want of its registry:\n{done.stdout}{done.stderr}")
