# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Keys for Secure Boot that are made once for a work directory, for tests.

Each of PK, KEK and db has a key of its own. They stay in the work directory, readable by their owner alone, and are in
no image. The subject of each certificate says that it is for tests.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
from ansible_collections.os_image.composer.plugins.module_utils._io import write_file
from ansible_collections.os_image.composer.plugins.module_utils._signing.enrolment import VARIABLES

_DAYS = 20 * 365


def generated_keys_dir(work_dir: str) -> str:
    """Return where the keys of a work directory lie."""
    return os.path.join(work_dir, "keys", "secure-boot")


def key_pair(directory: str, variable: str) -> t.Tuple[str, str]:
    """Return the paths of the key and the certificate for a variable."""
    return os.path.join(directory, f"{variable}.key"), os.path.join(directory, f"{variable}.crt")


def generate_keys(directory: str, runner: CommandRunner, *, who: str, lock_timeout: float) -> bool:
    """Make the keys when there are none yet.

    :returns: Whether they were made.
    :raises SigningError: There are some that others than their owner can reach.
    """
    parent = os.path.dirname(directory)
    os.makedirs(parent, mode=0o700, exist_ok=True)
    _check_private(parent)
    what = f"directory of keys {directory}"
    with file_lock(os.path.join(parent, ".lock"), what=what, who=who, timeout=lock_timeout):
        if os.path.lexists(directory):
            _check_private(directory)
            for variable in VARIABLES:
                _check_private(key_pair(directory, variable)[0])
            return False
        made = tempfile.mkdtemp(dir=parent)
        try:
            name = secrets.token_hex(4)
            for variable in VARIABLES:
                _generate(made, variable, name, runner)
            os.rename(made, directory)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return True


def _generate(directory: str, variable: str, name: str, runner: CommandRunner) -> None:
    key_path, certificate_path = key_pair(directory, variable)
    openssl = find_tool("openssl")
    key = runner.run(
        [openssl, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        log_output=False,
        what="Generating a key for Secure Boot",
    ).stdout
    write_file(key_path, key, mode=0o600)
    subject = f"/O=os_image.composer/CN=TEST KEY {variable} {name}, not for production"
    certificate = runner.run(
        [openssl, "req", "-new", "-x509", "-sha256", "-key", key_path, "-days", str(_DAYS), "-subj", subject],
        what="Certifying a key for Secure Boot",
    ).stdout
    write_file(certificate_path, certificate)


def _check_private(path: str) -> None:
    """Check that a path is ours alone.

    :raises SigningError: It is a link, somebody else's, or others can reach it.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError as exc:
        raise SigningError(
            f"{path} is missing among the generated keys.",
            remedy=f"Remove {os.path.dirname(path)}; new keys are made then, which machines have to enrol again.",
        ) from exc
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.geteuid() or mode & 0o077:
        raise SigningError(
            f"{path} can be reached by others than the user of the build (owner {status.st_uid}, mode {mode:04o}), so "
            "that what is signed with it proves nothing.",
            remedy=f"Remove {path}; new keys are made then, which machines have to enrol again.",
        )


__all__ = ("generate_keys", "generated_keys_dir", "key_pair")
