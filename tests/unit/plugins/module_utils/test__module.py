# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The frame of a module: errors become a failed result."""

from __future__ import annotations

import errno
import sys
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError
from ansible_collections.os_image.composer.plugins.module_utils._module import failing

SHOWN = {"/inputs/ab": "/home/user", "/inputs/ab/config": "/srv/config"}


class Module:
    """Stands for an AnsibleModule."""

    def __init__(self) -> None:
        self.failure: dict[str, t.Any] = {}
        self.pending: BaseException | None = None

    def fail_json(self, **result: t.Any) -> t.NoReturn:
        self.failure = result
        self.pending = sys.exc_info()[1]
        raise SystemExit(1)


def _fail(error: BaseException, **options: t.Any) -> Module:
    module = Module()
    with pytest.raises(SystemExit), failing(t.cast("t.Any", module), **options):
        raise error
    return module


def test_an_error_becomes_a_failed_result_with_its_details() -> None:
    error = ComposerError("It failed.", remedy="Be kind.", details={"rc": 3})
    module = _fail(error, facts={"console_log": "/out/console.log"})
    assert module.failure == {"msg": "It failed. Be kind.", "rc": 3, "console_log": "/out/console.log"}
    # Ansible takes the traceback from here.
    assert module.pending is error


def test_an_error_of_the_operating_system_is_told_in_words() -> None:
    module = _fail(OSError(errno.ENOSPC, "No space left on device", "/srv/image"))
    assert module.failure["msg"].startswith("There is no space left on the build host, when writing /srv/image.")


def test_paths_are_shown_as_the_user_knows_them() -> None:
    error = ComposerError(
        "/inputs/ab/config/os.yml and /inputs/ab/image.yml differ.", details={"errors": [{"file": "/inputs/ab/a.yml"}]}
    )
    assert _fail(error, shown_paths=SHOWN).failure == {
        "msg": "/srv/config/os.yml and /home/user/image.yml differ.",
        "errors": [{"file": "/home/user/a.yml"}],
    }


def test_defects_are_no_failed_results() -> None:
    with pytest.raises(KeyError), failing(t.cast("t.Any", Module())):
        raise KeyError("defect")
