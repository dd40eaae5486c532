# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sandbox of programs that read images: what they can do, and what ends them."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError, CommandError
from ansible_collections.os_image.composer.plugins.module_utils._image import sandbox as image_sandbox
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import (
    ParserSandbox,
    output_directory,
    readable_file,
)
from ansible_collections.os_image.composer.tests.support.sandbox_probe import build_probe, judge
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

pytestmark = needs_root


def say(sandbox: ParserSandbox, script: str) -> str:
    """Return what a shell script says, errors among it."""
    return sandbox.run(["/bin/sh", "-c", script], check=False, merge_output=True).text


def test_a_hostile_program_gets_nowhere(sandbox: ParserSandbox, tmp_path: pathlib.Path) -> None:
    (tmp_path / "probe").mkdir()
    (tmp_path / "host").mkdir()
    host_file = tmp_path / "host/of-the-host"
    host_file.write_text("secret\n")
    probe = build_probe(tmp_path / "probe")
    judge(sandbox.reading(str(probe)).run([str(probe), str(host_file), str(host_file.parent)], check=False).text)


def test_it_is_nobody_and_has_no_capability(sandbox: ParserSandbox) -> None:
    assert say(sandbox, "id -u; id -g; id -G") == "65534\n65534\n65534\n"
    capabilities = [line.split()[1] for line in say(sandbox, "grep ^Cap /proc/self/status").splitlines()]
    assert capabilities == ["0" * 16] * 5


def test_it_sees_what_it_reads_and_nothing_else(sandbox: ParserSandbox, tmp_path: pathlib.Path) -> None:
    image, secret = tmp_path / "image", tmp_path / "secret"
    for path in (image, secret):
        path.write_text(f"{path.name}\n")
    # As published images are: readable by a group.
    image.chmod(0o640)
    said = say(sandbox.reading(str(image)), f"cat {image}; ls {tmp_path}; ls /etc /root /home")
    assert said.startswith("image\n")
    image.chmod(0o666)
    said += say(sandbox.reading(str(image)), f"echo more >> {image}")
    assert f"cannot create {image}: Read-only file system" in said
    assert "secret" not in said
    assert "ld.so.cache\n" in said
    assert image.read_text() == "image\n"


def test_what_only_its_owner_may_read_is_copied(sandbox: ParserSandbox, tmp_path: pathlib.Path, temp_dir: str) -> None:
    image = tmp_path / "image"
    image.write_text("image\n")
    image.chmod(0o600)
    with readable_file(str(image), temp_dir=temp_dir) as copy:
        assert os.path.dirname(os.path.dirname(copy)) == temp_dir
        assert say(sandbox.reading(copy), f"cat {copy}") == "image\n"
    assert image.stat().st_mode & 0o777 == 0o600


def test_it_writes_into_memory_only(sandbox: ParserSandbox, temp_dir: str) -> None:
    with output_directory(1 << 20, temp_dir=temp_dir, what="The test") as directory:
        runner = sandbox.writing(directory, most=2 << 20)
        said = say(
            runner, f"cd {directory}; echo x > file; ln -s /etc/passwd link; cp /bin/sh setuid; chmod 4755 setuid"
        )
        assert said == ""
        assert sorted(os.listdir(directory)) == ["file", "link", "setuid"]
        # A file has its limit, and so has everything together.
        assert "File size limit exceeded" in say(runner, f"dd if=/dev/zero of={directory}/big bs=1M count=4")
        assert os.stat(f"{directory}/big").st_size == 2 << 20
        said = say(runner, f"for i in $(seq 100); do dd if=/dev/zero of={directory}/$i bs=1M count=2; done")
        assert "No space left on device" in said
        assert "noexec" in subprocess.check_output(["findmnt", "-n", "-o", "OPTIONS", directory], text=True)


def test_what_needs_more_memory_than_there_is_is_refused(temp_dir: str) -> None:
    with (
        pytest.raises(
            ArtifactError, match=r"^The test is read in memory, and needs up to .* on a host with more memory"
        ),
        output_directory(1 << 60, temp_dir=temp_dir, what="The test"),
    ):
        pass


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(CommandError, match=r"^Looking did not end within 0\.5 s\.$"):
        ParserSandbox(timeout=0.5).run(["/bin/sleep", "60"], what="Looking")


def test_what_it_says_has_an_end(sandbox: ParserSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_sandbox, "MOST_OUTPUT", 1 << 20)
    with pytest.raises(CommandError, match="ended with status 153"):
        ParserSandbox().run(["/bin/cat", "/dev/zero"])


def test_a_file_system_is_not_filled_up(sandbox: ParserSandbox, tmp_path: pathlib.Path) -> None:
    small = tmp_path / "small"
    small.mkdir(mode=0o777)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m,mode=1777", "tmpfs", small], check=True)
    try:
        runner = sandbox.writing(str(small), most=1 << 30, keep_free=True)
        script = f"for i in $(seq 60); do dd if=/dev/zero of={small}/$i bs=1M count=2; sleep 0.1; done"
        with pytest.raises(CommandError, match="would fill up the file system of temp_dir, of which 256 MiB stay free"):
            runner.run(["/bin/sh", "-c", script])
    finally:
        subprocess.run(["umount", small], check=True)


def test_somebody_who_is_not_root_is_confined_too(tmp_path: pathlib.Path) -> None:
    """In a user namespace, as himself."""
    program = """
import sys
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
script = "id -u; ls /root /home /etc; touch /usr/x; grep ^CapBnd /proc/self/status; cat /proc/net/dev | wc -l"
print(ParserSandbox().run(["/bin/sh", "-c", script], check=False, merge_output=True).text)
"""
    command = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "create a user namespace" in said.stderr:
        pytest.skip("users may not create namespaces here")
    lines = said.stdout.splitlines()
    assert lines[0] == "1000", said.stderr
    assert "ls: cannot access '/root': No such file or directory" in lines
    assert "touch: cannot touch '/usr/x': Read-only file system" in lines
    assert "CapBnd:\t" + "0" * 16 in lines
    # Two lines of heading, and the loopback device.
    assert lines[-2] == "3"
