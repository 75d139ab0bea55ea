"""Builds the image with buildah and runs a two-trial study in it, without a container engine.

    make image-test                                  Debian bookworm made by debootstrap as base
    make image-test BASE_IMAGE=<image>               any other base, pulled
    make image-test IMAGE_TEST_TRIALS=0              only the image: user, package, torch

Needs root, buildah and (without BASE_IMAGE) debootstrap; about 8 GB under $TMPDIR (/var/tmp),
removed at the end. pip inside the build is configured as pip is here: `pip config list` becomes
its pip.conf, and the folders and certificates named there are mounted read-only.

Not tested here: the CUDA build, Docker's and compose's own behaviour.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

Sections = dict[str, dict[str, str]]
PROJECT = Path(__file__).resolve().parents[1]
STUDY = "studies/quickstart.toml"
IMAGE = "localhost/atft-hpo:test"
BASE = "localhost/debian-base:test"
PIP_FILES = "/mnt/pip"
FACTS = """
import os, shutil, atft_hpo, torch
assert os.getuid() == 10001, os.getuid()
found = [tool for tool in ("pip", "gcc", "make") if shutil.which(tool)]
assert not found, f"left in the image: {found}"
print("atft-hpo", atft_hpo.__version__, "torch", torch.__version__, "uid", os.getuid())
"""
LEFT_BEHIND = """
import pathlib, sys
for name in ("best_main.pt", "final.pt", "summary.md"):
    found = list(pathlib.Path("/volume/studies").glob(f"*/trials/*/attempt-1/{name}"))
    assert len(found) == int(sys.argv[1]), f"{name}: {found}"
print("in the volume:", *(path.name for path in sorted(found[0].parent.iterdir())))
"""


class ImageTestError(Exception):
    """The image cannot be built here, or does not do what it should."""


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own, so that nothing of the machine's is touched."""

    work: Path

    def __call__(self, *arguments: str, capture: bool = False) -> str:
        """Run one buildah command; its standard output when `capture` is set."""
        storage = ["--root", str(self.work / "storage"), "--runroot", str(self.work / "run")]
        command = ["buildah", *storage, "--storage-driver", "vfs", *arguments]
        print("+ buildah", *arguments[:6], "…", flush=True)
        stdout = subprocess.PIPE if capture else None
        done = subprocess.run(command, cwd=PROJECT, stdout=stdout, text=True)
        if done.returncode:
            raise ImageTestError(f"buildah {arguments[0]} ended with status {done.returncode}")
        return (done.stdout or "").strip()


def parse_pip_config(listing: str) -> Sections:
    """Sections of a pip.conf from the output of `pip config list`.

    Later wins in pip: [global], then the command's own section, then PIP_* variables, which
    therefore go to both.
    """
    sections: Sections = {"global": {}, "install": {}}
    variables: dict[str, str] = {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if not name or name == "config-file":
            continue
        target = variables if section == ":env:" else sections.setdefault(section, {})
        target[name] = ast.literal_eval(value)
    for section in ("global", "install"):
        sections[section] |= variables
    return sections


def render_pip_config(sections: Sections) -> str:
    """Text of a pip.conf; values of several words go on one line each, as pip wants them."""
    lines = []
    for section, options in sections.items():
        lines.append(f"[{section}]")
        for name, text in options.items():
            lines.append(f"{name} = " + "\n  ".join(text.split()))
    return "\n".join(lines) + "\n"


def relocate(sections: Sections) -> tuple[Sections, dict[Path, str]]:
    """The configuration with each local path moved below PIP_FILES, and what to mount there.

    Elsewhere than here: a package that the build installs may own the original path. Of an index
    `.../simple` the parent is mounted, since the files it points to lie beside it.
    """
    mounts: dict[Path, str] = {}

    def moved(word: str) -> str:
        url = urlsplit(word)
        path = Path(unquote(url.path) if url.scheme == "file" else word)
        if not (path.is_absolute() and path.exists()):
            return word
        source = path.parent if path.name == "simple" else path
        target = mounts.setdefault(source, f"{PIP_FILES}/{len(mounts)}")
        inside = target if source == path else f"{target}/simple"
        return f"file://{inside}" if url.scheme == "file" else inside

    return {
        section: {name: " ".join(map(moved, text.split())) for name, text in options.items()}
        for section, options in sections.items()
    }, mounts


def pip_mounts(work: Path) -> list[str]:
    """Arguments that give the build this machine's pip configuration."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    sections, mounts = relocate(parse_pip_config(listing))
    config = work / "pip.conf"
    config.write_text(render_pip_config(sections))
    mounts[config] = "/etc/pip.conf"
    return [f"--volume={source}:{target}:ro" for source, target in mounts.items()]


def debian_base(buildah: Buildah, work: Path) -> str:
    """Make a minimal Debian without Python the base image; its name."""
    root = work / "debian"
    suite, mirror = os.environ.get("DEBIAN_SUITE", "bookworm"), os.environ.get("DEBIAN_MIRROR")
    command = ["debootstrap", "--variant=minbase", suite, str(root), *([mirror] if mirror else [])]
    print("+", *command, flush=True)
    log = work / "debootstrap.log"
    with log.open("w") as stream:
        status = subprocess.run(command, stdout=stream, stderr=stream).returncode
    if status:
        raise ImageTestError(f"debootstrap ended with status {status}: {log.read_text()[-400:]}")
    container = buildah("from", "scratch", capture=True)
    buildah("add", "--quiet", container, str(root), "/")
    buildah("commit", "--quiet", "--rm", container, BASE)
    shutil.rmtree(root)
    return BASE


def build_image(buildah: Buildah, work: Path) -> None:
    """Build the Dockerfile under the name IMAGE."""
    base = os.environ.get("BASE_IMAGE") or debian_base(buildah, work)
    options = {"BASE_IMAGE": base} | {
        name: os.environ[name]
        for name in ("TORCH_INDEX_URL", "PIP_EXTRA_ARGS")
        if os.environ.get(name)
    }
    given = [f"--build-arg={name}={value}" for name, value in options.items()]
    buildah("bud", "--isolation", "chroot", "--tag", IMAGE, *given, *pip_mounts(work), ".")


def run_study(buildah: Buildah, trials: int) -> None:
    """Run the package's facts and a study of `trials` trials as the image's own user."""
    container = buildah("from", IMAGE, capture=True)

    def inside(*command: str, capture: bool = False) -> str:
        return buildah("run", "--isolation", "chroot", container, "--", *command, capture=capture)

    inside("python3", "-c", FACTS)
    if not trials:
        return
    inside("atft-hpo", "run", STUDY, "--trials", str(trials))
    status = json.loads(inside("atft-hpo", "status", STUDY, "--json", capture=True))
    if status["outcomes"] != {"COMPLETE": trials}:
        raise ImageTestError(f"outcomes are {status['outcomes']}; expected {trials} COMPLETE")
    inside("python3", "-c", LEFT_BEHIND, str(trials))


@contextmanager
def working_directory() -> Iterator[Path]:
    """A temporary directory that is removed unless something is still mounted below it."""
    parent = os.environ.get("TMPDIR", "/var/tmp")  # noqa: S108 - only mkdtemp's parent
    work = Path(tempfile.mkdtemp(prefix="atft-hpo-image-", dir=parent))
    try:
        yield work
    finally:
        if f" {work}/" in Path("/proc/self/mountinfo").read_text():
            print(f"left in place, since something is mounted below it: {work}", file=sys.stderr)
        else:
            shutil.rmtree(work)


def main() -> int:
    """Build, run, clean up; 0 when all of it went well."""
    needed = ["buildah"] if os.environ.get("BASE_IMAGE") else ["buildah", "debootstrap"]
    absent = [tool for tool in needed if not shutil.which(tool)]
    if absent or os.geteuid() != 0:
        wanted = "root" if not absent else " and ".join(absent)
        print(f"error: the image test needs {wanted}; see docs/operations.md", file=sys.stderr)
        return 1
    try:
        with working_directory() as work:
            buildah = Buildah(work)
            build_image(buildah, work)
            run_study(buildah, int(os.environ.get("IMAGE_TEST_TRIALS", "2")))
    except ImageTestError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("image test passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
