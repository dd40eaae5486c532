# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that are run: what they get, what is told about them, and that they end with us."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.os_image.composer.plugins.module_utils import _command
from ansible_collections.os_image.composer.plugins.module_utils._command import (
    CommandRunner,
    find_tool,
    has_tool,
    killed_on_error,
    tool_version,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import HOST_TOOLS
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress


def alive(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: object, seconds: float = 10) -> bool:
    """Wait for C(condition()) to be true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_environment_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    lines = CommandRunner(environment={"SOURCE_DATE_EPOCH": "5"}).run(["env"]).text.split()
    assert "SECRET=x" not in lines
    assert {"LC_ALL=C", "TZ=UTC", "SOURCE_DATE_EPOCH=5"} <= set(lines)


def test_arguments_are_not_expanded() -> None:
    assert CommandRunner().run(["printf", "%s", "$HOME ~ *"]).text == "$HOME ~ *"


def test_standard_input_is_closed_or_given() -> None:
    assert CommandRunner().run(["cat"]).stdout == b""
    assert CommandRunner().run(["cat"], data=b"secret").stdout == b"secret"


def test_failure_tells_the_reason_before_the_usage() -> None:
    with pytest.raises(CommandError, match=r"Its last lines:\nno such option\n?$"):
        CommandRunner().run(["sh", "-c", "echo no such option; echo Usage: mkfs; seq 30; exit 1"])
    with pytest.raises(CommandError, match=r"Its last lines:\nUsage: mkfs$"):
        CommandRunner().run(["sh", "-c", "echo Usage: mkfs; exit 1"])


def test_failure_tells_status_last_lines_and_log(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "stage.log"
    runner = CommandRunner(log=Progress("x", stage_log=str(log)))
    with pytest.raises(CommandError) as caught:
        runner.run(
            ["sh", "-c", "echo out; for i in $(seq 30); do echo line $i >&2; done; exit 3"], what="Formatting 'a'"
        )
    message = str(caught.value)
    assert message.startswith("Formatting 'a' ended with status 3. Its last lines:\nline 11\n")
    assert message.endswith(f"line 30\nThe full log is {log}.")
    assert caught.value.details["rc"] == 3
    assert "line 1\n" in log.read_text()
    assert log.read_text().startswith("$ sh -c ")


def test_input_never_reaches_the_log(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "stage.log"
    CommandRunner(log=Progress("x", stage_log=str(log))).run(["wc", "-c"], data=b"hunter2")
    assert "hunter2" not in log.read_text()


def test_signal_and_missing_program() -> None:
    with pytest.raises(CommandError, match="was ended by signal 9"):
        CommandRunner().run(["sh", "-c", "kill -9 $$"])
    with pytest.raises(CommandError, match="ended with status 127"):
        CommandRunner().run(["/nonexistent/program"])


def test_time_limit_ends_the_whole_group() -> None:
    start = time.monotonic()
    with pytest.raises(CommandError, match="did not end within 0.3 s"):
        CommandRunner().run(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.3)
    assert time.monotonic() - start < 10


def test_what_a_program_says_is_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that says something for ever must not take the build host's memory."""
    monkeypatch.setattr(_command, "MOST_OUTPUT", 1 << 20)
    start = time.monotonic()
    for arguments in ({}, {"merge_output": True}):
        with pytest.raises(CommandError, match=r"^Saying it said more than 1 MiB\. Its last lines:\n(y\n)+y$"):
            CommandRunner().run(["sh", "-c", "yes & yes >&2"], what="Saying it", **arguments)
    assert time.monotonic() - start < 10
    assert len(CommandRunner().run(["head", "-c", str(1 << 20), "/dev/zero"]).stdout) == 1 << 20


def test_much_is_said_and_told_at_the_same_time() -> None:
    data = bytes(range(256)) * 40_000
    assert CommandRunner().run(["tee", "/dev/stderr"], data=data).stdout == data
    done = CommandRunner().run(["cat"], data=data, merge_output=True)
    assert (done.stdout, done.stderr) == (data, b"")
    # One that does not listen, and one that closes its output long before its end.
    assert CommandRunner().run(["true"], data=data).rc == 0
    with pytest.raises(CommandError, match=r"^Waiting did not end within 0\.5 s"):
        CommandRunner().run(["sh", "-c", "exec >&- 2>&-; sleep 30"], timeout=0.5, what="Waiting")
    with pytest.raises(CommandError, match=r"^Waiting did not end within 0\.5 s\. Its last lines:\nso far"):
        CommandRunner().run(["sh", "-c", "echo so far; sleep 30"], timeout=0.5, what="Waiting")


def test_program_dies_with_us(tmp_path: pathlib.Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner\n"
        f"CommandRunner().run(['sh', '-c', 'echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60'])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ, PYTHONPATH=":".join(sys.path))) as parent:
        assert wait_until(pid_file.exists)
        child = int(pid_file.read_text())
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until(lambda: not alive(child))


def test_find_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_tool("tar").endswith("/tar")
    monkeypatch.setattr(_command, "_SEARCH_PATH", "/nonexistent")
    with pytest.raises(ToolMissingError) as caught:
        find_tool("mke2fs")
    assert str(caught.value) == (
        "The program 'mke2fs' was not found on the build host. Install the package 'e2fsprogs' there, "
        "or apply the role os_image.composer.build_host."
    )


def test_a_tool_is_found_by_its_other_name(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(_command, "_SEARCH_PATH", str(tmp_path))
    assert not has_tool("grub-mkimage")
    (tmp_path / "grub2-mkimage").touch(mode=0o755)
    assert has_tool("grub-mkimage")
    assert find_tool("grub-mkimage") == f"{tmp_path}/grub2-mkimage"
    (tmp_path / "grub-mkimage").touch(mode=0o755)
    assert find_tool("grub-mkimage") == f"{tmp_path}/grub-mkimage"


@pytest.mark.parametrize("name", [name for name, tool in HOST_TOOLS.items() if tool.package.purpose == "build"])
def test_each_program_tells_its_version(name: str) -> None:
    line = tool_version(name)
    assert re.search(r"\d\.\d", line)
    assert not re.search("usage|invalid|unable", line, re.IGNORECASE)


def test_tool_version() -> None:
    assert tool_version("tar").startswith("tar (GNU tar)")
    # Each is asked in its own way.
    assert tool_version("mke2fs").startswith("mke2fs ")


def test_a_started_program_ends_with_the_block_that_fails() -> None:
    process = CommandRunner().start(["sleep", "60"])
    with pytest.raises(RuntimeError, match="enough"), killed_on_error(process):
        raise RuntimeError("enough")
    assert process.returncode == -signal.SIGKILL
    finished = CommandRunner().start(["true"])
    with killed_on_error(finished):
        assert finished.wait() == 0
