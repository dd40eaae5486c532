# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys on a PKCS#11 token for tests: SoftHSM acts as one, OpenSSL makes the keys."""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess

#: SoftHSM's library, where Debian has it.
LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"

_FORMS = {
    "rsa": ("-newkey", "rsa:2048"),
    "ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
}


@dataclasses.dataclass(frozen=True)
class TokenKey:
    """A key on the token.

    :ivar uri: Its PKCS#11 URI, with the token's library.
    :ivar certificate: Path of its certificate (PEM).
    :ivar public: Its public half (PEM).
    """

    uri: str
    certificate: str
    public: bytes


class Token:
    """A token in a directory.

    :ivar environment: By which programs find it.
    """

    pin = "1234 ' $x"

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        tokens = directory / "tokens"
        tokens.mkdir()
        configuration = directory / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.environment = {"SOFTHSM2_CONF": str(configuration), "PATH": "/usr/bin:/bin"}
        self._softhsm("--init-token", "--free", "--label", "images", "--so-pin", "5678")

    def make_key(self, name: str, *, form: str = "rsa", days: int = 36500) -> TokenKey:
        """Make a key pair and its certificate.

        :param form: C(rsa) or C(ec).
        """
        key, converted, certificate = (self._directory / f"{name}.{end}" for end in ("key", "p8", "crt"))
        files = ("-keyout", str(key), "-out", str(certificate))
        _run("openssl", "req", "-x509", "-nodes", *_FORMS[form], *files, "-subj", f"/CN={name}", "-days", str(days))
        _run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", str(key), "-out", str(converted))
        number = f"{len(list(self._directory.glob('*.crt'))):02x}"
        self._softhsm("--import", str(converted), "--token", "images", "--label", name, "--id", number)
        key.unlink()
        converted.unlink()
        public = _run("openssl", "x509", "-in", str(certificate), "-pubkey", "-noout")
        return TokenKey(f"pkcs11:token=images;object={name}?module-path={LIBRARY}", str(certificate), public)

    def _softhsm(self, *arguments: str) -> None:
        command = ["softhsm2-util", *arguments, "--pin", self.pin]
        subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL)


def _run(*argv: str) -> bytes:
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


__all__ = ("LIBRARY", "Token", "TokenKey")
