# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A private key as programs are told of it: a file, one that a passphrase protects, or a key on a PKCS#11 token.

A passphrase and what it protects are seen by the programs alone, through files without a name in memory: they are in no
argument, environment, log or file system.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._command import (
    CommandRunner,
    CompletedCommand,
    find_tool,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import (
    CommandError,
    SigningError,
    ToolMissingError,
)
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import PKCS11_ENGINE, install_remedy
from ansible_collections.os_image.composer.plugins.module_utils._io import memory_file
from ansible_collections.os_image.composer.plugins.module_utils._template.references import is_token_key

# Where distributions have libp11's engine for OpenSSL 3.
_ENGINES = ("/usr/lib/*/engines-3/pkcs11.so", "/usr/lib64/engines-3/pkcs11.so", "/usr/lib/engines-3/pkcs11.so")

_GIVE_PASSPHRASE = (
    "Give it by the option secure_boot_passphrase (of efi_sign: passphrase; of the role: "
    "image_build_secure_boot_passphrase)."
)


@dataclasses.dataclass(frozen=True)
class PrivateKey:
    """A key that programs can use while it is open.

    :ivar name: What the user calls it: a path, or a PKCS#11 URI.
    :ivar reference: What programs are given for it.
    :ivar descriptors: What they have to inherit to reach it.
    :ivar engine: Path of the engine that reaches a token; V(None) when the key is a file.
    """

    name: str
    reference: str
    runner: CommandRunner
    descriptors: t.Tuple[int, ...] = ()
    engine: str | None = None

    def run(
        self,
        argv: t.Sequence[str],
        *,
        what: str,
        data: bytes | None = None,
        environment: t.Mapping[str, str] | None = None,
        log_output: bool = True,
    ) -> CompletedCommand:
        """Run a program that uses the key.

        :raises CommandError: It failed.
        """
        runner = self.runner.with_environment(environment or {})
        return runner.run(argv, what=what, data=data, log_output=log_output, pass_fds=self.descriptors)

    def public(self) -> bytes:
        """Return the public half (PEM).

        :raises SigningError: It is no private key, or cannot be had.
        """
        source = ["-in", self.reference]
        if self.engine is not None:
            source += ["-engine", "pkcs11", "-inform", "engine"]
        try:
            return self.run(
                [find_tool("openssl"), "pkey", *source, "-pubout"], what="Reading the key", log_output=False
            ).stdout
        except CommandError as exc:
            if self.engine is None:
                raise SigningError(
                    f"{self.name} is not a private key (PEM).",
                    remedy="Correct the paths in systemConfig.signing.secureBoot (or immutability).",
                ) from exc
            raise _token_error(self.name, str(exc)) from exc


@contextlib.contextmanager
def opened_key(name: str, runner: CommandRunner, *, passphrase: str | None = None) -> t.Iterator[PrivateKey]:
    """Let programs use a private key while the block runs.

    :param name: Path of a PEM file, or a PKCS#11 URI (RFC 7512). Its attribute C(module-path) names the token's
        library; without it, p11-kit knows the tokens of the host.
    :param passphrase: What protects the key; of a token, its PIN.
    :raises SigningError: It cannot be used.
    """
    with contextlib.ExitStack() as stack:
        if is_token_key(name):
            yield _token_key(name, runner, passphrase, stack)
            return
        if not os.path.isfile(name):
            raise SigningError(
                f"The Secure Boot key file {name} does not exist.",
                remedy="Correct the paths in systemConfig.signing.secureBoot (or immutability).",
            )
        with open(name, "rb") as stream:
            is_protected = b"ENCRYPTED" in stream.read()
        if not is_protected:
            yield PrivateKey(name, name, runner)
            return
        descriptor = _in_memory(_unlocked(name, runner, passphrase, stack), stack)
        yield PrivateKey(name, _path_of(descriptor), runner, (descriptor,))


def _in_memory(data: bytes, stack: contextlib.ExitStack) -> int:
    """Return the descriptor of a file without a name that holds the data until the stack ends."""
    return stack.enter_context(memory_file(data)).fileno()


def _path_of(descriptor: int) -> str:
    """Return the path by which a program that has inherited a descriptor opens its file."""
    return f"/proc/self/fd/{descriptor}"


def _unlocked(name: str, runner: CommandRunner, passphrase: str | None, stack: contextlib.ExitStack) -> bytes:
    if not passphrase:
        raise SigningError(f"The private key {name} is protected by a passphrase.", remedy=_GIVE_PASSPHRASE)
    descriptor = _in_memory(passphrase.encode("utf-8"), stack)
    try:
        return runner.run(
            [find_tool("openssl"), "pkey", "-in", name, "-passin", f"fd:{descriptor}"],
            log_output=False,
            pass_fds=(descriptor,),
        ).stdout
    except CommandError as exc:
        raise SigningError(
            f"The passphrase does not open the private key {name}.",
            remedy="Correct the passphrase, or the path.",
        ) from exc


def _token_key(name: str, runner: CommandRunner, pin: str | None, stack: contextlib.ExitStack) -> PrivateKey:
    reference, environment = token_reference(name)
    descriptors: t.Tuple[int, ...] = ()
    if pin:
        descriptors = (_in_memory(pin.encode("utf-8"), stack),)
        reference += f"{'&' if '?' in reference else '?'}pin-source=file:{_path_of(descriptors[0])}"
    return PrivateKey(name, reference, runner.with_environment(environment), descriptors, pkcs11_engine())


def token_reference(name: str) -> t.Tuple[str, t.Dict[str, str]]:
    """Return the PKCS#11 URI that OpenSSL's engine understands, and the variables by which it finds the library.

    :param name: The URI of a key, maybe with the attribute C(module-path).
    :raises SigningError: There is no such library.
    """
    path, _mark, query = name.partition("?")
    attributes = dict(word.partition("=")[::2] for word in query.split("&") if word)
    module = urllib.parse.unquote(attributes.pop("module-path", ""))
    if module and not os.path.isfile(module):
        raise SigningError(
            f"The PKCS#11 library {module} does not exist.", remedy=f"Correct module-path of the key {name}."
        )
    query = "&".join(f"{key}={value}" for key, value in attributes.items())
    return f"{path}?{query}" if query else path, {"PKCS11_MODULE_PATH": module} if module else {}


def pkcs11_engine() -> str:
    """Return the path of the engine that reaches tokens.

    :raises ToolMissingError: OpenSSL has none.
    """
    found = [path for pattern in _ENGINES for path in sorted(glob.glob(pattern))]
    if not found:
        raise ToolMissingError(
            "The engine of OpenSSL that reaches PKCS#11 tokens was not found on the build host.",
            remedy=install_remedy(PKCS11_ENGINE),
        )
    return found[0]


def _token_error(name: str, said: str) -> SigningError:
    """Tell in words why a token does not give its key."""
    if "PIN incorrect" in said or "CKR_PIN_INCORRECT" in said:
        return SigningError(
            f"The PIN does not open the token of the key {name}. Tokens lock themselves after a few wrong ones.",
            remedy="Correct the PIN before you try again.",
        )
    if "No PIN code" in said or "Enter PKCS#11" in said:
        return SigningError(f"The token of the key {name} wants its PIN.", remedy=_GIVE_PASSPHRASE)
    return SigningError(
        f"The key {name} was not found on any token.",
        remedy="Look for it by p11tool --list-all, or name the token's library by ?module-path=.",
    )


__all__ = ("PrivateKey", "opened_key", "pkcs11_engine", "token_reference")
