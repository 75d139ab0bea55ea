"""Dockerfile, compose file and the image test: what can be known without a container engine."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

SECRET = "s3cret/with@odd:letters"


@pytest.fixture(scope="module")
def image_test() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "docker/image_test.py"
    spec = importlib.util.spec_from_file_location("image_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dockerfile(root) -> str:
    text = (root / "Dockerfile").read_text()
    return re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))


@pytest.fixture
def compose(root) -> dict[str, Any]:
    return yaml.safe_load((root / "docker-compose.yml").read_text())


def test_the_image_is_built_from_arguments_and_runs_as_an_ordinary_user(dockerfile):
    arguments = re.findall(r"^ARG (\w+)=(.*)$", dockerfile, re.MULTILINE)
    assert dict(arguments).keys() == {"BASE_IMAGE", "TORCH_INDEX_URL", "PIP_EXTRA_ARGS"}
    assert dict(arguments)["TORCH_INDEX_URL"] == '""'
    last_stage = dockerfile.rpartition("\nFROM ")[2]
    assert "\nUSER 10001:10001\n" in last_stage
    assert "\nVOLUME /volume\n" in last_stage
    assert '\nENTRYPOINT ["atft-hpo"]\n' in last_stage
    assert "pip install" not in last_stage


def test_dependencies_are_installed_before_the_code_is_copied(dockerfile):
    assert dockerfile.index("-r requirements.txt") < dockerfile.index("COPY atft_hpo")
    assert all(
        "-c constraints.txt" in line for line in dockerfile.splitlines() if "pip install" in line
    )


def test_the_build_context_holds_what_the_image_copies_and_no_more(root, dockerfile):
    copied = {
        word
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
        for word in sources.split()
    }
    lines = (root / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def test_only_the_dashboard_is_published_and_on_loopback_only(compose):
    published = {name: s["ports"] for name, s in compose["services"].items() if "ports" in s}
    assert published == {"dashboard": ["127.0.0.1:${DASHBOARD_PORT:-8080}:8080"]}


def test_services_wait_for_the_schema_and_the_schema_for_postgres(compose):
    services = compose["services"]
    assert services["schema"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("worker", "worker-cpu", "study", "dashboard"):
        assert services[name]["depends_on"]["schema"]["condition"].endswith("successfully")


def test_workers_reserve_gpus_or_none(compose):
    services = compose["services"]
    (device,) = services["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert "deploy" not in services["worker-cpu"]
    assert services["worker-cpu"]["environment"]["ATFT_HPO_DEVICE"] == "cpu"


def test_every_service_of_ours_shares_volume_and_database(compose):
    for name, service in compose["services"].items():
        if name == "postgres":
            continue
        assert "volume:/volume" in service["volumes"]
        assert SECRET not in service["environment"]["ATFT_HPO_STORAGE"]
        assert "container_name" not in service, "would forbid --scale"


def compose_config(root: Path, directory: Path, **variables: str) -> subprocess.CompletedProcess:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")
    environment = {key: text for key, text in os.environ.items() if key != "POSTGRES_PASSWORD"}
    command = ["docker-compose", "--project-directory", str(directory)]
    command += ["-f", str(root / "docker-compose.yml"), "config"]
    return subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, check=False
    )


def test_compose_accepts_the_file_and_keeps_the_password_out_of_the_url(root, tmp_path):
    done = compose_config(root, tmp_path, POSTGRES_PASSWORD=SECRET, HPO_STUDY_NAME="mine")
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services["worker"]["command"] in ("worker mine", ["worker", "mine"])
    assert services["worker"]["environment"]["PGPASSWORD"] == SECRET
    assert SECRET not in services["worker"]["environment"]["ATFT_HPO_STORAGE"]


def test_compose_refuses_to_start_without_a_password(root, tmp_path):
    done = compose_config(root, tmp_path)
    assert done.returncode != 0
    assert "POSTGRES_PASSWORD" in done.stderr


def test_pip_variables_win_over_files(image_test):
    listing = "global.find-links='/a'\ninstall.find-links='/b'\n:env:.find-links='/c'\n"
    sections = image_test.parse_pip_config(listing)
    assert sections["install"]["find-links"] == "/c"
    assert sections["global"]["find-links"] == "/c"


def test_values_of_several_words_survive_the_configuration_file(image_test):
    from configparser import RawConfigParser

    listing = "global.extra-index-url='\\nfile:///x/simple\\nfile:///y/simple'\n:env:.timeout='9'\n"
    parser = RawConfigParser()
    parser.read_string(image_test.render_pip_config(image_test.parse_pip_config(listing)))
    assert parser["global"]["extra-index-url"].split() == ["file:///x/simple", "file:///y/simple"]
    assert parser["install"]["timeout"] == "9"


def test_local_paths_are_moved_and_mounted_and_others_left(image_test, tmp_path):
    (tmp_path / "index/simple").mkdir(parents=True)
    (tmp_path / "ca.crt").touch()
    given = (
        f"file://{tmp_path}/index/simple {tmp_path}/ca.crt {tmp_path}/absent https://host/simple"
    )
    sections, mounts = image_test.relocate({"global": {"any": given}})
    assert mounts == {tmp_path / "index": "/mnt/pip/0", tmp_path / "ca.crt": "/mnt/pip/1"}
    assert sections["global"]["any"].split() == [
        "file:///mnt/pip/0/simple",
        "/mnt/pip/1",
        f"{tmp_path}/absent",
        "https://host/simple",
    ]


def test_without_its_tools_the_image_test_says_which(image_test, monkeypatch, capsys):
    monkeypatch.setattr(image_test.shutil, "which", lambda tool: None)
    monkeypatch.delenv("BASE_IMAGE", raising=False)
    assert image_test.main() == 1
    assert "buildah and debootstrap" in capsys.readouterr().err


def test_a_failing_step_ends_the_image_test_and_removes_its_directory(
    image_test, monkeypatch, tmp_path, capsys
):
    def fail(*_: object) -> None:
        raise image_test.ImageTestError("buildah bud ended with status 1")

    monkeypatch.setattr(image_test.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(image_test.os, "geteuid", lambda: 0)
    monkeypatch.setattr(image_test, "build_image", fail)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert image_test.main() == 1
    assert "error: buildah bud ended with status 1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
