# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The monitor of a virtual machine: QMP, one JSON object a line."""

from __future__ import annotations

import json
import socket
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError


class Monitor:
    """Speaks QMP (https://www.qemu.org/docs/master/interop/qmp-spec.html).

    :param connection: A connected stream socket; the greeting has not been read.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._ready = False

    def execute(self, command: str, arguments: t.Mapping[str, t.Any] | None = None, *, timeout: float = 10) -> t.Any:
        """Run a command and return its value.

        :raises BootError: The machine refused it, did not answer in time, or has ended.
        """
        if not self._ready:
            self._answer("the greeting", timeout)
            self._send({"execute": "qmp_capabilities"})
            self._answer("qmp_capabilities", timeout)
            self._ready = True
        self._send({"execute": command, **({"arguments": arguments} if arguments else {})})
        return self._answer(command, timeout)

    def _send(self, message: t.Mapping[str, t.Any]) -> None:
        try:
            self._connection.sendall(json.dumps(message).encode("utf-8") + b"\n")
        except OSError as exc:
            raise BootError(f"The virtual machine cannot be reached any more: {exc.strerror}.") from exc

    def _answer(self, what: str, timeout: float) -> t.Any:
        end = time.monotonic() + timeout
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                message = json.loads(line)
                if "error" in message:
                    raise BootError(f"The virtual machine refused {what}: {message['error'].get('desc', message)}.")
                if "return" in message or "QMP" in message:
                    return message.get("return")
                # Everything else is an event, and nobody asked for those.
                continue
            self._connection.settimeout(max(0.01, end - time.monotonic()))
            try:
                data = self._connection.recv(65536)
            except OSError as exc:
                raise BootError(f"The virtual machine did not answer {what} within {timeout:g} s.") from exc
            if not data:
                raise BootError(f"The virtual machine ended before it answered {what}.")
            self._buffer += data


__all__ = ("Monitor",)
