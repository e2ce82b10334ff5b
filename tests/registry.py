"""Which registry do tests push images to?  Debian's docker-registry, on a port that the system chose.

>>> with registry(tmp_path, "AWS") as server:
...     docker("login", server.address, "--username", "AWS", "--password-stdin", input=server.password)
"""

import contextlib
import re
import shutil
import subprocess
import time
from dataclasses import dataclass

import pytest
import requests
import yaml

PASSWORD = "a-password-for-an-hour"
HASHED = "$2b$04$IoCzUAM7xihQuYePmNKS6e1313QPWK2j8NidjyerIErL53FUvRXc2"  # the same by bcrypt, as the registry wants it
MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
MISSING = None if shutil.which("docker-registry") else "docker-registry (the Debian package) is not installed"


@dataclass
class Registry:
    """A registry that lets one user in, or everybody."""

    address: str
    user: str | None
    password: str = PASSWORD

    def tags(self, repository):
        """Give the tags of a repository, none where there is no such repository."""
        return sorted(self._ask(f"{repository}/tags/list").json().get("tags") or [])

    def digest(self, repository, tag):
        """Give the digest of what a tag names."""
        return self._ask(f"{repository}/manifests/{tag}", Accept=MANIFESTS).headers["Docker-Content-Digest"]

    def _ask(self, path, **headers):
        url = f"http://{self.address}/v2/{path}"
        return requests.get(url, auth=self.user and (self.user, self.password), headers=headers, timeout=10)


@contextlib.contextmanager
def registry(folder, user=None):
    """Start a registry that stores in a folder, and wants a login where a user is named; stop it in the end."""
    if MISSING:
        pytest.skip(MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(f"{user}:{HASHED}\n")
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": "127.0.0.1:0"},
    }
    if user:
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stderr=output, stdout=output)
    try:
        yield Registry(_address(process, log), user)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _address(process, log):
    """Read from the registry's log where it listens."""
    for _ in range(300):
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())
        if found or process.poll() is not None:
            break
        time.sleep(0.1)
    return found[1] if found else pytest.fail(f"docker-registry did not start: {log.read_text()}")
