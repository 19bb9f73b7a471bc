"""The image of `deploy/Dockerfile`, built on a base that debootstrap made, and what runs in it, without a registry."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bot.sources import ROOT

TOOLS = ("buildah", "debootstrap")
SOURCES = Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")
# Where this machine finds packages, and whom it trusts: the build has to know too, and keeps nothing of it.
LENT = ("/etc/ssl/certs", "/etc/pip.conf", "/opt/pypi", "/opt/pypi-more", "/opt/wheels")
MOST_MEGABYTES = 1800

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or not all(shutil.which(one) for one in TOOLS),
        reason=f"an image is built by root on Linux, with {' and '.join(TOOLS)}",
    ),
]


def mirror():
    """Where this machine's Debian packages come from."""
    for file in SOURCES:
        text = file.read_text() if file.exists() else ""
        found = re.search(r"^(?:URIs:|deb(?: \[.*\])?)\s+(https?://\S+)", text, re.MULTILINE)
        if found:
            return found[1]
    return pytest.skip("no source of Debian packages is known here")


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    """Run buildah on a store of its own, without any daemon."""
    folder = tmp_path_factory.mktemp("image")
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    store = ("--storage-driver", "vfs", "--root", str(folder / "store"), "--runroot", str(folder / "run"))

    def run(*arguments, check=True):
        words = ["buildah", *store, *arguments]
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, (arguments, done.stdout[-3000:], done.stderr[-3000:])
        return done

    yield run
    run("rm", "--all", check=False)
    run("rmi", "--all", "--force", check=False)


@pytest.fixture(scope="module")
def image(buildah, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "root"
    made = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(folder), mirror()]
    subprocess.run(made, check=True, capture_output=True)
    base = buildah("from", "scratch").stdout.strip()
    place = buildah("mount", base).stdout.strip()
    subprocess.run(["cp", "-a", f"{folder}/.", place], check=True)
    buildah("umount", base)
    buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", base)
    buildah("commit", "--quiet", base, "localhost/debian:base")
    buildah("rm", base)
    lent = [word for one in LENT if Path(one).exists() for word in ("--volume", f"{one}:{one}:ro")]
    trust = tmp_path_factory.mktemp("uv") / "uv.toml"
    trust.write_text("system-certs = true\n")
    lent += ["--volume", f"{trust}:/etc/uv/uv.toml:ro"]
    built = ("bud", "--format", "docker", "--pull-never", "--build-arg", "BASE=localhost/debian:base", *lent)
    buildah(*built, "--tag", "traderagent", "--file", "deploy/Dockerfile", ".")
    return "localhost/traderagent"


def test_the_image_is_no_larger_than_it_says_has_no_root_and_its_demo_compiles_nothing(buildah, image):
    container = buildah("from", "--pull-never", image).stdout.strip()
    place = Path(buildah("mount", container).stdout.strip())
    size = int(subprocess.run(["du", "-sm", str(place)], capture_output=True, text=True, check=True).stdout.split()[0])
    assert size < MOST_MEGABYTES
    assert list((place / "opt" / "kernels").glob("*/*.nbc")), "no machine code is in it"

    def inside(*words, check=True):
        return buildah("run", container, "--", *words, check=check)

    assert inside("id", "-u").stdout.strip() == "10001"
    written = "find / -xdev -writable -type d -not -path '/proc/*' -not -path '/dev/*' -not -path '/sys/*'"
    assert set(inside("sh", "-c", f"{written} 2>/dev/null || true").stdout.split()) <= {
        *("/data", "/cache", "/tmp", "/var/tmp", "/run/lock", "/var/lock", "/tmp/.X11-unix"),
    }
    demo = inside("traderagent", "demo", "--minutes", "60", "--speed", "1000", "--no-web")
    assert "fills" in demo.stdout.splitlines()[-1]
    assert "dispatch_event" not in demo.stderr, "the bot's code was compiled: it should have been in the image"
    refused = inside("healthy", "http://127.0.0.1:9/", check=False)
    assert refused.returncode == 1
    settings = json.loads(buildah("inspect", "--type", "image", image).stdout)["Docker"]["config"]
    assert (settings["User"], settings["StopSignal"]) == ("10001:10001", "SIGINT")
    assert settings["Healthcheck"]["Test"][:2] == ["CMD", "healthy"]
