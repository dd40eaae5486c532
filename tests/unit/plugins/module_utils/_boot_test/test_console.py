# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import os
import pathlib
import pty
import socket
import subprocess
import threading
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.console import Console, TerminalText
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"\x1b[2J\x1b[01;01Hhello\r\n"], "hello\n"),
        ([b"\x1b[", b"32mOK", b"\x1b", b"[0m."], "OK."),
        ([b"\x1b[=3hBdsDxe", b"\x1b]0;title\x07: loading"], "BdsDxe: loading"),
        ([b"\x1b(Bx\x1b)0y"], "xy"),
        (["grün".encode()[:3], "grün".encode()[3:]], "grün"),
        ([b"a\xffb"], "a\N{REPLACEMENT CHARACTER}b"),
        ([b"bell\x07 back\x08"], "bell back"),
        ([b"\x1b]" + b"x" * 500], "]" + "x" * 500),
    ],
)
def test_terminal_text(pieces: list[bytes], expected: str) -> None:
    terminal = TerminalText()
    assert "".join(terminal.feed(piece) for piece in pieces) == expected


@pytest.fixture
def line() -> t.Iterator[tuple[Console, socket.socket, io.StringIO]]:
    """A console, and the socket at which a test plays the image."""
    here, there = socket.socketpair()
    log = io.StringIO()
    with here, there:
        yield Console(here, log), there, log


def test_expect_goes_on_where_it_was(line: tuple[Console, socket.socket, io.StringIO]) -> None:
    console, image, log = line
    image.sendall(b"one two ")
    found = console.expect("two", "one", timeout=5)
    assert found and (found[0], found[1].group()) == (0, "two")
    assert console.expect("one", timeout=0.1) is None
    image.sendall(b"one\r\n")
    assert console.expect("one$", timeout=5)
    assert log.getvalue() == console.text == "one two one\n"


def test_expect_notices_the_end(line: tuple[Console, socket.socket, io.StringIO]) -> None:
    console, image, _log = line
    image.sendall(b"the last word")
    image.close()
    assert console.expect("login:", timeout=30) is None
    assert console.ended
    assert console.tail() == "the last word"


def test_tail_shows_the_last_lines_that_say_something(line: tuple[Console, socket.socket, io.StringIO]) -> None:
    console, image, _log = line
    image.sendall(b"".join(b"line %d  \r\n\r\n" % number for number in range(30)) + b"end")
    assert console.expect("end", timeout=5)
    assert console.tail(3) == "line 28\nline 29\nend"


class _Shell:
    """A real shell on a terminal of its own, behind a minimal login, connected to a socket like a serial line."""

    def __init__(self, tmp_path: pathlib.Path, peer: socket.socket, *, password: str, asks: str) -> None:
        login = tmp_path / "login"
        login.write_text(
            "#!/bin/bash\n"
            "printf 'guest login: '; read -r user\n"
            f"if [ \"$user\" != free ]; then printf '{asks}'; read -r -s word; echo\n"
            f"[ \"$word\" = {password!r} ] || {{ echo 'Login incorrect'; printf 'guest login: '; read -r user; }}; fi\n"
            f"export PS1='$USER@guest:~# '; exec bash --norc --noprofile -i\n",
            encoding="utf-8",
        )
        login.chmod(0o755)
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [str(login)], stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd=tmp_path
        )
        os.close(slave)
        self._peer = peer
        threading.Thread(target=self._to_console, daemon=True).start()
        threading.Thread(target=self._to_shell, daemon=True).start()

    def _to_console(self) -> None:
        try:
            while True:
                self._peer.sendall(os.read(self._master, 4096))
        except OSError:
            self._peer.close()

    def _to_shell(self) -> None:
        try:
            while data := self._peer.recv(4096):
                os.write(self._master, data)
        except OSError:
            return

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def shell(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Iterator[Console]:
    here, there = socket.socketpair()
    guest = _Shell(tmp_path, there, password="open sesame", asks=getattr(request, "param", "Password: "))
    console = Console(here, io.StringIO())
    assert console.expect("login:", timeout=10)
    yield console
    guest.end()
    here.close()


def test_commands_after_login(shell: Console) -> None:
    shell.log_in("admin", "open sesame", timeout=20)
    done = shell.run("printf 'a\\n\\nb'; echo err >&2; cd /; pwd", timeout=20)
    assert (done.rc, done.output) == (0, "a\n\nberr\n/")
    done = shell.run("for i in 1 2; do\n  echo $i\ndone\nexit 7", timeout=20)
    assert (done.rc, done.output) == (7, "1\n2")
    # Longer than a terminal takes in one line.
    done = shell.run(f"printf %s {'x' * 9000} | wc -c", timeout=20)
    assert (done.rc, done.output.strip()) == (0, "9000")


@pytest.mark.parametrize("shell", ["Passwort: ", "Mot de passe : ", "Kennwort: "], indirect=True)
def test_login_in_other_languages(shell: Console) -> None:
    shell.log_in("admin", "open sesame", timeout=20)
    assert shell.run("echo in", timeout=20).output == "in"


def test_login_without_a_password(shell: Console) -> None:
    shell.log_in("free", None, timeout=20)
    assert shell.run("echo in", timeout=20).output == "in"


def test_wrong_password(shell: Console) -> None:
    with pytest.raises(BootError, match="Cannot log in to the booted image as 'admin': it refused the login"):
        shell.log_in("admin", "wrong", timeout=20)


def test_missing_password(shell: Console) -> None:
    with pytest.raises(BootError, match="it asks for the password of 'admin'. Give login_password."):
        shell.log_in("admin", None, timeout=20)


def test_command_that_does_not_end(shell: Console) -> None:
    shell.log_in("free", None, timeout=20)
    with pytest.raises(BootError, match="The command 'sleep 60' failed in the booted image: it did not end within 1 s"):
        shell.run("sleep 60", timeout=1)
