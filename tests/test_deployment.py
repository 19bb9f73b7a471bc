"""What `deploy` has is as its tools read it, and keeps the rules: no root, nothing open to others, no secret inline."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import pytest
import ray.autoscaler
import yaml

from bot.sources import ROOT
from services.app.collector import load_collector
from services.app.fleet import LEAVE_SECONDS
from services.runtime.config import load_bot
from services.settings import IN_FILES
from tests.test_readme import parse

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if "traderagent" in one["image"]}
WITHOUT_PORT = {"fleet", "watchdog", "telegram"}  # nothing to ask; they end where they cannot go on
SECRET = re.compile(r"password|passwd|secret|token|api_?key", re.IGNORECASE)


def tool(name, *arguments):
    """Run a tool of the development environment on files of `deploy`."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name(name)), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_is_of_its_schema():
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


def test_hadolint_finds_nothing_in_the_dockerfile():
    tool("hadolint", DEPLOY / "Dockerfile")


def faults(services):
    """What is wrong with services of a stack, in words."""
    for name, one in services.items():
        if str(one.get("user", "root")).partition(":")[0] in ("0", "root"):
            yield f"{name} runs as root"
        for key, value in (("read_only", True), ("cap_drop", ["ALL"]), ("security_opt", ["no-new-privileges:true"])):
            if one.get(key) != value:
                yield f"{name} has {key} {one.get(key)}"
        if ("healthcheck" not in one or one["healthcheck"].get("disable")) and name not in WITHOUT_PORT:
            yield f"{name} has no health check"
        for key in ("restart", "stop_grace_period", "profiles"):
            if not one.get(key):
                yield f"{name} has no {key}"
        if "max-size" not in one.get("logging", {}).get("options", {}):
            yield f"{name} has logs without end"
        yield from (f"{name} {fault}" for fault in openings(one))


def openings(one):
    """What of a service lies open to others."""
    for port in one.get("ports", ()):
        if not str(port).startswith("127.0.0.1:"):
            yield f"opens {port} to others"
    for key, value in one.get("environment", {}).items():
        if SECRET.search(key) and not str(value).startswith("/run/secrets/"):
            yield f"has {key} in its environment"
    if ":latest" in one["image"] and "TRADERAGENT_IMAGE" not in one["image"]:
        yield "has no version"
    if one.get("privileged") or "/var/run/docker.sock" in str(one.get("volumes")):
        yield "may do everything"


def test_the_stack_keeps_the_rules():
    assert list(faults(SERVICES)) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"user": "0:0"}, "runs as root"),
        ({"read_only": False}, "read_only"),
        ({"ports": ["8800:8800"]}, "to others"),
        ({"ports": ["0.0.0.0:8800:8800"]}, "to others"),
        ({"environment": {"POSTGRES_PASSWORD": "postgres"}}, "in its environment"),
        ({"healthcheck": {"disable": True}}, "no health check"),
        ({"logging": {}}, "without end"),
        ({"image": "postgres:latest"}, "no version"),
    ],
)
def test_a_broken_rule_is_found(change, sentence):
    assert any(sentence in one for one in faults({"bot": {**SERVICES["bot"], **change}}))


def test_the_program_takes_the_commands_of_the_stack():
    for name, one in OURS.items():
        if name != "pod":
            parse(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", " ".join(one["command"])).replace("/bots/", f"{DEPLOY}/bots/"))


def test_no_profile_has_a_bot_and_a_fleet_that_could_start_it_twice_and_each_has_what_it_needs():
    profiles = {
        profile: {name for name, one in SERVICES.items() if profile in one["profiles"]}
        for profile in ("small", "full", "fleet")
    }
    assert profiles["fleet"] == profiles["full"] - {"bot"} | {"fleet"}
    assert profiles["small"] == {"pod", "bot", "console", "postgres", "redis"}
    for names in profiles.values():
        assert {needed for name in names for needed in SERVICES[name].get("depends_on", ())} <= names


def test_every_secret_is_used_and_every_name_of_a_file_is_one_that_the_program_reads():
    assert set(COMPOSE["secrets"]) == {secret for one in SERVICES.values() for secret in one.get("secrets", ())}
    named = {key for one in OURS.values() for key in one.get("environment", {}) if key.endswith("_FILE")}
    assert named
    assert named <= {f"{name}_FILE" for name in IN_FILES}


def test_the_bot_is_given_time_to_cancel_and_what_shares_loopback_shares_one_pod():
    assert SERVICES["bot"]["stop_grace_period"] == SERVICES["fleet"]["stop_grace_period"] == "120s"
    assert LEAVE_SECONDS < 120
    for name in {*OURS, "prometheus", "blackbox", "grafana"} - {"pod"}:
        assert SERVICES[name]["network_mode"] == "service:pod"
        longest = int(SERVICES["pod"]["stop_grace_period"].rstrip("s"))
        assert int(SERVICES[name]["stop_grace_period"].rstrip("s")) < longest, "it would be killed with the pod"
    assert COMPOSE["networks"]["inside"]["internal"]
    assert all(SERVICES[name]["networks"] == ["inside"] for name in ("postgres", "redis"))


def test_configs_of_the_stack_are_configs_and_prometheus_looks_where_they_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADERAGENT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TRADERAGENT_DATABASE", "postgresql://traderagent@postgres/traderagent")
    monkeypatch.setenv("TRADERAGENT_REDIS", "redis://redis:6379/0")
    settings, _ = load_bot(DEPLOY / "bots" / "bot.yaml")
    collector = load_collector(DEPLOY / "bots" / "collector.yaml")
    assert settings.database.startswith("postgresql://")
    assert collector.redis == settings.redis == "redis://redis:6379/0"
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {one["job_name"]: [at for group in one["static_configs"] for at in group["targets"]] for one in scraped}
    probed = [urlsplit(at) for at in targets.pop("traderagent-blackbox")]
    assert {(one.port, one.path) for one in probed} == {(settings.control_port, "/health"), (8800, "/health")}
    ports = {int(at.rpartition(":")[2]) for ats in targets.values() for at in ats}
    assert ports == {settings.control_port, 8800, 9105, collector.port}
    (exporter,) = (one["relabel_configs"] for one in scraped if one["job_name"] == "traderagent-blackbox")
    assert f"--web.listen-address={exporter[-1]['replacement']}" in SERVICES["blackbox"]["command"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="secrets are given to users of containers by root")
def test_secrets_are_random_each_for_its_own_user_and_are_made_once(tmp_path):
    shutil.copy(DEPLOY / "make_secrets", tmp_path)
    for _ in range(2):
        done = subprocess.run([str(tmp_path / "make_secrets")], capture_output=True, text=True, check=True)
        now = {one.name: one.read_bytes() for one in (tmp_path / "secrets").iterdir()}
        assert "keep a copy of master_key" in done.stdout
    assert set(now) == set(COMPOSE["secrets"])
    owners = {name: (tmp_path / "secrets" / name).stat().st_uid for name in now}
    users = {
        secret: int(one["user"].partition(":")[0]) for one in SERVICES.values() for secret in one.get("secrets", ())
    }
    assert owners == users
    assert all(stat.S_IMODE((tmp_path / "secrets" / name).stat().st_mode) == 0o400 for name in now)
    password = now["postgres_password"].decode()
    assert re.fullmatch(r"[0-9a-f]{64}", password)
    assert now["database_url"].decode() == f"postgresql://traderagent:{password}@postgres:5432/traderagent"
    again = subprocess.run([str(tmp_path / "make_secrets")], capture_output=True, text=True, check=True)
    assert again.stdout
    assert {one.name: one.read_bytes() for one in (tmp_path / "secrets").iterdir()} == now
    (tmp_path / "secrets" / "postgres_password").unlink()
    refused = subprocess.run([str(tmp_path / "make_secrets")], capture_output=True, text=True, check=False)
    assert (refused.returncode, "belong together" in refused.stderr) == (2, True)


def manifests():
    folder = DEPLOY / "kuberay"
    return [folder / name for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]]


def test_manifests_are_what_kubernetes_takes():
    assert {one.name for one in manifests()} == {
        one.name for one in (DEPLOY / "kuberay").glob("*.yaml") if one.name != "kustomization.yaml"
    }
    for file in manifests():
        kind = yaml.safe_load(file.read_text())
        if kind["apiVersion"] != "ray.io/v1":
            tool("kubernetes-validate", "--strict", file)


def test_pods_of_ray_are_what_kubernetes_takes_and_none_runs_as_root(tmp_path):
    cluster = yaml.safe_load((DEPLOY / "kuberay" / "cluster.yaml").read_text())
    assert cluster["spec"]["rayVersion"] == metadata.version("ray")
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    for group in groups:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, "spec": group["template"]["spec"]}
        (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod))
        tool("kubernetes-validate", "--strict", tmp_path / "pod.yaml")
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all("value" not in one or not SECRET.search(one["name"]) for one in container["env"])
        assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["spec"]["volumes"]}


def test_the_cluster_of_ray_up_is_of_rays_own_schema():
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load((DEPLOY / "ray" / "cluster.yaml").read_text()), schema)


def test_dashboards_and_the_source_of_their_figures_are_provisioned():
    folder = DEPLOY / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards" / "traderagent.yaml").read_text())["providers"]
    mounted = [one.split(":") for one in SERVICES["grafana"]["volumes"]]
    assert [DEPLOY / one[0] for one in mounted if one[1] == provider["options"]["path"]] == [DEPLOY / "grafana"]
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://127.0.0.1:9090"


def test_nobody_names_a_registry_of_packages():
    for path in [*DEPLOY.rglob("*"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        if path.is_file() and path.suffix != ".png":
            assert not re.search(r"pypi\.org|pythonhosted|deb\.debian\.org|registry\.npmjs", path.read_text()), path
