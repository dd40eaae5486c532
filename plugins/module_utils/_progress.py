# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Progress and logs of a stage.

A stage tells its milestones, in the words of the original tool (C([Packages] Downloading packages (120/245 cached))).
They are appended to C({build_dir}/build.log), one line each; the action plugins read that file while the module runs
and display new lines live. Everything else, the commands and their output above all, goes to
C({build_dir}/log/{stage}.log).
"""

from __future__ import annotations

import datetime
import os
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import printable
from ansible_collections.os_image.composer.plugins.module_utils._ownership import open_own_file

LEVELS: t.Mapping[str, int] = {"debug": 10, "info": 20, "warn": 30, "error": 40}

# One line a second is plenty for a person and for AWX, which drops events above 30 a second.
_INTERVAL_SECONDS = 1.0


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Progress:
    """Milestones and log of one run of one stage.

    :param stage: The stage's name, part of each line.
    :param build_log: C(build.log) of the build directory, or V(None) to tell nobody.
    :param stage_log: C(log/{stage}.log), or V(None).
    :param extra_log: The O(log_file) option: gets the milestones too.
    :param level: The least level that is written: C(debug), C(info), C(warn), C(error).
    """

    def __init__(
        self,
        stage: str,
        *,
        build_log: str | None = None,
        stage_log: str | None = None,
        extra_log: str | None = None,
        level: str = "info",
    ) -> None:
        self._stage = stage
        self._milestone_logs = [path for path in (build_log, extra_log) if path]
        self._stage_log = stage_log
        self._threshold = LEVELS[level]
        self._last_count = 0.0

    @property
    def path(self) -> str | None:
        """The stage's full log, for error messages; V(None) when nothing is logged."""
        return self._stage_log

    def milestone(self, topic: str, message: str, *, level: str = "info") -> None:
        """Tell a milestone.

        :param topic: The part of the pipeline: C(Template), C(Packages), C(Chroot), C(Disk), C(Boot), C(Signing),
            C(Artifacts).
        :param message: One line, without a full stop.
        """
        if LEVELS[level] < self._threshold:
            return
        prefix = "" if level == "info" else f"{level.upper()}: "
        # Names that somebody has chosen must not begin another line.
        line = f"{_now()} {self._stage} [{topic}] {prefix}{' '.join(message.splitlines())}\n"
        for path in self._milestone_logs:
            _append(path, line)
        self.write(line)

    def count(self, topic: str, message: str, *, done: int, total: int) -> None:
        """Tell how far a long step is; at most one line a second is written, the last one always.

        :param message: The text with C({done}) and C({total}) for the numbers.
        """
        now = time.monotonic()
        if done < total and now - self._last_count < _INTERVAL_SECONDS:
            return
        self._last_count = now
        self.milestone(topic, message.format(done=done, total=total))

    def debug(self, message: str) -> None:
        """Write to the stage's log only, when the level is C(debug)."""
        if self._threshold <= LEVELS["debug"]:
            self.write(f"{_now()} {self._stage} DEBUG: {message}\n")

    def write(self, text: str) -> None:
        """Append C(text) to the stage's log, its control characters written out."""
        if self._stage_log:
            _append(self._stage_log, text)


def _append(path: str, text: str) -> None:
    # O_APPEND: stages, and modules of one fleet on one host, may write to the same extra log.
    descriptor = open_own_file(path, os.O_WRONLY | os.O_APPEND, 0o640, what="log")
    try:
        os.write(descriptor, printable(text).encode("utf-8", errors="backslashreplace"))
    finally:
        os.close(descriptor)


__all__ = ("LEVELS", "Progress")
