# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The serial console of a booted image: reading what it says, logging in, running commands."""

from __future__ import annotations

import base64
import codecs
import dataclasses
import re
import select
import socket
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError

#: What a console shows when a person may log in.
LOGIN_PROMPT = r"[\w.-]+ login:"

# Control sequences of terminals (ECMA-48, and the few private ones that firmware and systemd send).
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])"
)
_UNFINISHED_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]+)?$")
_LONGEST_ESCAPE = 256
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

_TAIL_LINES = 20

# A line discipline takes at most 4095 characters of one line; commands are sent in pieces well below that.
_PIECE = 1024

# In the image's language. Without a password there is a shell at once, or something that ends in no colon.
_ASKED = r"(?i:pass\w*[^\n\S]*:)|^(?!Last )[^\n\[\]]{2,40}: *\Z"
_REFUSED = r"Login incorrect|Authentication failure|^(?!Last )[\w.-]+ (?i:login): *\Z"
_PROMPT = r"[#$%>] ?\Z"
_PATIENCE_SECONDS = 10.0


class TerminalText:
    """Turns the bytes that are meant for a terminal into plain text, as they come in."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, data: bytes) -> str:
        """Return the text in C(data); a control sequence that is cut off waits for its end."""
        text = _ESCAPE.sub("", self._rest + self._decoder.decode(data))
        self._rest = ""
        unfinished = _UNFINISHED_ESCAPE.search(text)
        if unfinished and len(unfinished.group()) <= _LONGEST_ESCAPE:
            self._rest = unfinished.group()
            text = text[: unfinished.start()]
        return _CONTROL.sub("", text)


@dataclasses.dataclass(frozen=True)
class GuestCommand:
    """What a command did in the booted image.

    :ivar rc: Its exit status.
    :ivar output: Its standard output and standard error, as the console showed them; without the last line's end.
    """

    cmd: str
    rc: int
    output: str
    seconds: float


class Console:
    """One side of a serial line; the image's console is the other.

    :param connection: A connected stream socket; reading it to its end means that the machine has ended.
    :param log: Gets everything that the console says, as plain text, at once.
    """

    def __init__(self, connection: socket.socket, log: t.TextIO) -> None:
        self._connection = connection
        self._log = log
        self._terminal = TerminalText()
        self._text = ""
        self._position = 0
        self._commands = 0
        self.ended = False
        connection.setblocking(False)

    @property
    def text(self) -> str:
        """Everything that the console has said so far, as plain text."""
        return self._text

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """Return the last lines that are not blank."""
        return "\n".join([line.rstrip() for line in self._text.splitlines() if line.strip()][-lines:])

    def pump(self, seconds: float) -> None:
        """Take what the console says within C(seconds), waiting only while it says nothing."""
        if self.ended:
            return
        readable, _writable, _exceptional = select.select([self._connection], [], [], max(0.0, seconds))
        if not readable:
            return
        try:
            data = self._connection.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.ended = True
            return
        text = self._terminal.feed(data)
        self._text += text
        self._log.write(text)
        self._log.flush()

    def expect(self, *patterns: str, timeout: float) -> tuple[int, re.Match[str]] | None:
        """Wait for one of several regular expressions in what came after the last one that was found.

        :returns: The index of the pattern and its match; V(None) when the time is over or the machine has ended.
            Patterns that come first win.
        """
        expressions = [re.compile(pattern, re.MULTILINE) for pattern in patterns]
        end = time.monotonic() + timeout
        while True:
            for index, expression in enumerate(expressions):
                match = expression.search(self._text, self._position)
                if match:
                    self._position = match.end()
                    return index, match
            remaining = end - time.monotonic()
            if remaining <= 0 or self.ended:
                return None
            self.pump(min(remaining, 1.0))

    def send(self, text: str) -> None:
        """Type C(text) and the Enter key."""
        self._connection.setblocking(True)
        try:
            self._connection.sendall(text.encode("utf-8") + b"\n")
        except OSError as exc:
            raise BootError(f"The console of the booted image takes no input: {exc.strerror}.") from exc
        finally:
            self._connection.setblocking(False)

    def log_in(self, user: str, password: str | None, *, timeout: float) -> None:
        """Log in at the login prompt, and make the shell quiet enough to be read by a program.

        :param password: V(None) when the user needs none.
        :raises BootError: The image did not let the user in.
        """
        end = time.monotonic() + timeout
        self.send(user)
        found = self.expect(_ASKED, _REFUSED, _PROMPT, timeout=timeout)
        if found and found[0] == 0 and password is not None:
            self.send(password)
            found = self.expect(_REFUSED, _PROMPT, timeout=_PATIENCE_SECONDS)
            found = (found[0] + 1, found[1]) if found else None
        elif found and found[0] == 0:
            raise BootError(
                f"Cannot log in to the booted image: it asks for the password of {user!r}.",
                remedy="Give login_password.",
            )
        # A kernel message may have hidden the prompt, and login(1) may throw away what is typed too early: ask until
        # the shell answers. printk would write between the lines of later output; only root may silence it.
        while not (found and found[0] == 1) and not self.ended and time.monotonic() < end:
            self.send(
                "stty -echo; PS1=; PS2=; export TERM=dumb PAGER=cat SYSTEMD_PAGER=cat LC_ALL=C; "
                "dmesg -n 1 2>/dev/null; printf '%s%s\\n' '<<rea' 'dy>>'"
            )
            found = self.expect(r"<<ready>>\n", _REFUSED, timeout=_PATIENCE_SECONDS)
            if found and found[0] == 0:
                return
        reason = "it refused the login" if found else f"no shell answered within {timeout:g} s"
        raise BootError(f"Cannot log in to the booted image as {user!r}: {reason}.")

    def run(self, cmd: str, *, timeout: float) -> GuestCommand:
        """Run a shell command after :meth:`log_in`.

        :param cmd: For the user's shell (POSIX); may have several lines.
        :raises BootError: It did not end in time, or the machine ended.
        """
        self._commands += 1
        began, ended = f"<<begin {self._commands}>>", f"<<end {self._commands} "
        started = time.monotonic()
        encoded = base64.b64encode(cmd.encode("utf-8")).decode("ascii")
        self.send("composer_cmd=")
        for offset in range(0, len(encoded), _PIECE):
            self.send(f"composer_cmd=${{composer_cmd}}{encoded[offset : offset + _PIECE]}")
        # The marks are put together by printf, so that an echo of this line is not mistaken for them.
        self.send(
            f"printf '\\n%s%s\\n' '<<be' 'gin {self._commands}>>'; "
            '( eval "$(printf %s "$composer_cmd" | base64 -d)" ) </dev/null 2>&1; '
            f"printf '\\n%s%s %s>>\\n' '<<en' 'd {self._commands}' \"$?\""
        )
        found = None
        if self.expect(re.escape(began) + r"\n", timeout=timeout):
            start = self._position
            found = self.expect(re.escape(ended) + r"(\d+)>>", timeout=timeout - (time.monotonic() - started))
        if found is None:
            reason = "the machine ended" if self.ended else f"it did not end within {timeout:g} s"
            raise BootError(f"The command {cmd!r} failed in the booted image: {reason}.")
        match = found[1]
        output = self._text[start : match.start()]
        return GuestCommand(cmd, int(match.group(1)), output.rstrip("\n"), round(time.monotonic() - started, 3))


__all__ = ("LOGIN_PROMPT", "Console", "GuestCommand", "TerminalText")
