# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A build host with a neighbour, as two network namespaces, for what crosses a network."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.support.tiny_debian import PYTHON_ENVIRONMENT

_RUN = """
import sys
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
done = Sandbox(sys.argv[1], CommandRunner(), source_date_epoch=0).run(sys.argv[2:], network=True, check=False)
print(done.text)
"""


@dataclasses.dataclass(frozen=True)
class HostNetwork:
    """A host with a web server on its loopback device, and a neighbour with one that has a metadata address, too.

    :ivar host: The name of the host's network namespace.
    """

    host: str
    loopback: str = "http://127.0.0.1:8080/"
    neighbour: str = "http://192.0.2.1:8080/"
    metadata: str = "http://169.254.169.254:8080/"

    @property
    def urls(self) -> tuple[str, ...]:
        """All that can be reached from the host."""
        return self.loopback, self.neighbour, self.metadata

    def run_in(self, tree: str, argv: t.Sequence[str]) -> str:
        """Run a command in a tree on the host, with a network; returns what it says."""
        command = ["ip", "netns", "exec", self.host, sys.executable, "-c", _RUN, tree, *argv]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(command, env=PYTHON_ENVIRONMENT, check=False, text=True, **output).stdout

    def fetch(self, url: str) -> int:
        """Fetch from the host itself; returns curl's exit status."""
        command = ["ip", "netns", "exec", self.host, "curl", "-sS", "-m", "5", "-o", os.devnull, url]
        return subprocess.run(command, check=False).returncode


@pytest.fixture
def host_network() -> t.Iterator[HostNetwork]:
    """Make the two namespaces, and take them away again."""
    host, neighbour = (f"composer-{name}-{os.getpid()}" for name in ("host", "neighbour"))

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    with contextlib.ExitStack() as stack:
        for name in (host, neighbour):
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", host, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", neighbour)
        for name, addresses in ((host, ["192.0.2.2/24"]), (neighbour, ["192.0.2.1/24", "169.254.169.254/16"])):
            for address in addresses:
                ip("-n", name, "address", "add", address, "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", host, "route", "add", "default", "via", "192.0.2.1")
        for name, address in ((host, "127.0.0.1"), (neighbour, "0.0.0.0")):  # noqa: S104  (in a namespace)
            server = [sys.executable, "-m", "http.server", "--bind", address, "--directory", "/nonexistent", "8080"]
            command = ["ip", "netns", "exec", name, *server]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
        network = HostNetwork(host)
        end = time.monotonic() + 20
        while any(network.fetch(url) != 0 for url in network.urls):
            assert time.monotonic() < end, "the servers do not answer"
            time.sleep(0.1)
        yield network


__all__ = ("HostNetwork", "host_network")
