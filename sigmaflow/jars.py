"""Java parts from Maven coordinates, each checked against docker/jars.lock (sha256), kept in one cache for all stacks.

A jar is fetched by jgo into a staging folder, checked there and only then renamed into the cache: what lies in the
cache is whole and right. A cached file is checked again by size on every start and by sum when it was just placed.

`python -m sigmaflow.jars lock` resolves the coordinates of docker/stack.toml anew and rewrites the lock file;
`python -m sigmaflow.jars fetch flink FOLDER` copies one part's jars, as the image does.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sigmaflow.errors import Failed
from sigmaflow.settings import ROOT, Settings, load

LOCK_FILE = ROOT / "docker" / "jars.lock"
# Connect, Jersey and Jetty come with kafka-tools and are not needed by a broker: of kafka-tools only its own jar is.
WITH_DEPENDENCIES = ("kafka_2.13",)


@dataclass(frozen=True)
class Jar:
    """One file of the Maven repository: the part it belongs to, its coordinate, size in bytes and sha256."""

    part: str
    group: str
    artifact: str
    version: str
    classifier: str
    packaging: str
    size: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Name as in the repository."""
        tail = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{tail}.{self.packaging}"

    @property
    def coordinate(self) -> str:
        """group:artifact:version[:classifier:packaging]."""
        tail = f":{self.classifier}:{self.packaging}" if self.classifier else ""
        return f"{self.group}:{self.artifact}:{self.version}{tail}"

    def path(self, cache: Path) -> Path:
        """Where it lies in the cache; its sum is in the path, so that two versions never mix."""
        return cache / "jars" / self.sha256[:16] / self.file_name


def read_lock(file: Path = LOCK_FILE) -> list[Jar]:
    """Lines of the lock file: part, coordinate, size, sha256."""
    jars = []
    for line in file.read_text().splitlines():
        if line and not line.startswith("#"):
            part, coordinate, size, sha256 = line.split()
            group, artifact, version, *tail = coordinate.split(":")
            classifier, packaging = tail or ("", "jar")
            jars.append(Jar(part, group, artifact, version, classifier, packaging, int(size), sha256))
    return jars


def sha256_of(file: Path) -> str:
    """Hex sum of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def missing(settings: Settings, jars: Iterable[Jar] | None = None) -> list[Jar]:
    """Jars that are not whole in the cache."""
    return [
        jar
        for jar in (read_lock() if jars is None else jars)
        if not jar.path(settings.cache_dir).exists() or jar.path(settings.cache_dir).stat().st_size != jar.size
    ]


def _fetch(jar: Jar, staging: Path) -> Path:
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=staging, timeout=60)
    found = (
        context.project(jar.group, jar.artifact)
        .at_version(jar.version)
        .artifact(classifier=jar.classifier, packaging=jar.packaging)
        .resolve()
    )
    return Path(found)


def _place(jar: Jar, cache: Path) -> None:
    target = jar.path(cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Staging inside the cache: the rename stays on one file system and is atomic.
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=cache) as staging:
        try:
            fetched = _fetch(jar, Path(staging))
        except Exception as error:
            raise Failed(
                "setup",
                f"{jar.coordinate} must be downloaded from the Maven repository",
                f"it could not be ({type(error).__name__}: {str(error)[:120]})",
                "check the network and run make setup again",
            ) from error
        found = sha256_of(fetched)
        if found != jar.sha256:
            raise Failed(
                "setup",
                f"{jar.coordinate} must have the sha256 of docker/jars.lock",
                f"it has {found[:16]}…, not {jar.sha256[:16]}…",
                "run make setup again; if it stays so, do not trust the download",
            )
        os.replace(fetched, target)


def ensure(settings: Settings, advance: Callable[[int, str], None] = lambda size, name: None) -> None:
    """Fetch what is missing, four at a time; `advance(bytes, name)` is called for each jar placed."""
    settings.cache_dir.mkdir(parents=True, exist_ok=True)
    for left in settings.cache_dir.glob(".staging-*"):  # of a run that was killed
        if not _in_use(left):
            shutil.rmtree(left, ignore_errors=True)

    def one(jar: Jar) -> None:
        _place(jar, settings.cache_dir)
        advance(jar.size, jar.file_name)

    # Largest first: the end is not spent waiting for one big file.
    wanted = sorted(missing(settings), key=lambda jar: -jar.size)
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(one, wanted):
            pass
    registry_home(settings)


def _in_use(folder: Path) -> bool:
    """Whether a staging folder was touched in the last ten minutes: another stack may be fetching right now."""
    import time

    try:
        newest = max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
    except (OSError, ValueError):
        return False
    return time.time() - newest < 600


def paths(settings: Settings, part: str) -> list[Path]:
    """Cached jars of one part, in lock order."""
    return [jar.path(settings.cache_dir) for jar in read_lock() if jar.part == part]


def registry_home(settings: Settings) -> Path:
    """Unpacked registry; unpacked into a temporary folder and renamed, so that it is never half there."""
    (archive,) = paths(settings, "registry")
    home = archive.parent / "unpacked"
    if not home.exists():
        fresh = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=archive.parent))
        with tarfile.open(archive) as tar:
            tar.extractall(fresh, filter="data")
        try:
            os.rename(fresh, home)
        except OSError:  # another stack was first
            shutil.rmtree(fresh, ignore_errors=True)
    return home


def wanted_coordinates(settings: Settings) -> list[tuple[str, str, str, str, str, str]]:
    """(part, group, artifact, version, classifier, packaging) of what the stack asks for by name."""
    v = settings.versions
    return [
        ("kafka", "org.apache.kafka", "kafka_2.13", v.kafka, "", "jar"),
        ("kafka", "org.apache.kafka", "kafka-tools", v.kafka, "", "jar"),
        # Kafka 4 speaks slf4j 1.7: the binding is log4j-slf4j-impl, not slf4j2.
        ("kafka", "org.apache.logging.log4j", "log4j-slf4j-impl", v.log4j, "", "jar"),
        ("kafka", "org.apache.logging.log4j", "log4j-1.2-api", v.log4j, "", "jar"),
        ("registry", "io.apicurio", "apicurio-registry-app", v.registry, "all", "tar.gz"),
        ("questdb", "org.questdb", "questdb", v.questdb, "", "jar"),
        ("flink", "org.apache.flink", "flink-sql-connector-kafka", v.flink_kafka, "", "jar"),
        ("flink", "org.apache.flink", "flink-sql-avro-confluent-registry", v.flink, "", "jar"),
    ]


def write_lock(settings: Settings) -> None:
    """Resolve the coordinates, fetch every file once and write the lock file. For maintainers."""
    import jgo

    wanted: dict[tuple[str, ...], None] = {}
    for part, group, artifact, version, classifier, packaging in wanted_coordinates(settings):
        wanted[(part, group, artifact, version, classifier, packaging)] = None
        if artifact in WITH_DEPENDENCIES:
            for found in jgo.resolve(f"{group}:{artifact}:{version}"):
                wanted[(part, found.groupId, found.artifactId, found.version, found.classifier, found.packaging)] = None
    settings.cache_dir.mkdir(parents=True, exist_ok=True)
    lines = ["# Written by python -m sigmaflow.jars lock: part, Maven coordinate, bytes, sha256. Do not edit."]
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=settings.cache_dir) as staging:
        for part, group, artifact, version, classifier, packaging in wanted:
            file = _fetch(Jar(part, group, artifact, version, classifier, packaging, 0, ""), Path(staging))
            jar = Jar(part, group, artifact, version, classifier, packaging, file.stat().st_size, sha256_of(file))
            target = jar.path(settings.cache_dir)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)
            lines.append(f"{jar.part} {jar.coordinate} {jar.size} {jar.sha256}")
            print(lines[-1], flush=True)
    LOCK_FILE.write_text("\n".join(lines) + "\n")


def fetch(settings: Settings, part: str, folder: Path) -> None:
    """Copy the checked jars of one part into a folder, fetching what is missing. For the image."""
    settings.cache_dir.mkdir(parents=True, exist_ok=True)
    wanted = [jar for jar in read_lock() if jar.part == part]
    for jar in missing(settings, wanted):
        _place(jar, settings.cache_dir)
    for jar in wanted:
        shutil.copyfile(jar.path(settings.cache_dir), folder / jar.file_name)


if __name__ == "__main__":
    if sys.argv[1:] == ["lock"]:
        write_lock(load())
    elif sys.argv[1:2] == ["fetch"] and len(sys.argv) == 4:
        fetch(load(), sys.argv[2], Path(sys.argv[3]))
    else:
        sys.exit("usage: python -m sigmaflow.jars lock | fetch PART FOLDER")
