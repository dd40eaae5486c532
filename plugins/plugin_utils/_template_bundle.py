# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The bundle of a template: all that a build needs of it, collected on the controller as one deterministic archive."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import os
import re
import stat
import tarfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError, TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.inputs import (
    ABSOLUTE_FOLDER,
    ASSET_FOLDER,
    CONFIG_FOLDER,
    TEMPLATE_FOLDER,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.loader import parse_yaml, read_yaml_bytes
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Origin, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Target
from ansible_collections.os_image.composer.plugins.module_utils._template.problems import Problem, template_error
from ansible_collections.os_image.composer.plugins.module_utils._template.provider import (
    known_systems,
    load_provider,
    system_directories,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.references import (
    SECRET_FILE_FIELDS,
    asset_name,
    file_references,
    find_asset,
    find_file,
)

#: The collection's own configuration.
OWN_CONFIG = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "config")

# The first bytes of a file that ansible-vault has encrypted.
_VAULT_HEADER = b"$ANSIBLE_VAULT;"

# What a template that is no file is called in error messages.
_CONTENT = "content"

# Names of images that can be names of files.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z")

#: Returns the path of a file's decrypted content.
Decrypt = t.Callable[[str], str]


@dataclasses.dataclass(frozen=True)
class Bundle:
    """An archive in the making.

    :ivar name: File name of the template in it.
    :ivar contents: Path in the archive -> (the bytes or the path of a file on the controller, permissions).
    :ivar private_keys: The paths in the archive of the private keys that the template and default templates name.
    """

    name: str
    contents: t.Mapping[str, tuple[bytes | str, int]]
    private_keys: t.Sequence[str] = ()

    def write(self, stream: t.BinaryIO) -> str:
        """Write the archive; equal contents give equal bytes.

        :returns: Its SHA-256 digest.
        """
        hashing = _HashingStream(stream)
        with tarfile.open(fileobj=t.cast(t.IO[bytes], hashing), mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for name, (content, mode) in sorted(self.contents.items()):
                info = tarfile.TarInfo(name)
                info.mode = mode
                if isinstance(content, bytes):
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
                    continue
                with open(content, "rb") as source:
                    info.size = os.fstat(source.fileno()).st_size
                    tar.addfile(info, source)
        return hashing.digest.hexdigest()


class _HashingStream:
    """Passes on what is written, and computes its digest."""

    def __init__(self, stream: t.BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._stream.write(data)


def is_encrypted(path: str) -> bool:
    """Tell whether ansible-vault has encrypted a file."""
    with open(path, "rb") as stream:
        return stream.read(len(_VAULT_HEADER)) == _VAULT_HEADER


def collect_file(path: str, *, config_dir: str, decrypt: Decrypt, asset_roots: t.Sequence[str] = ()) -> Bundle:
    """Collect a template that is a file.

    :param asset_roots: Directories that templates share.
    :raises TemplateError: It is not valid YAML, or names files that are not there; the message lists all of them.
    """
    path = os.path.abspath(path)
    data = read_yaml_bytes(path, what="The image template")
    if data.startswith(_VAULT_HEADER):
        with open(decrypt(path), "rb") as stream:
            data = stream.read()
    template = parse_yaml(data, path=path, what="The image template")
    return _collect(
        template,
        data,
        name=os.path.basename(path),
        base_dir=os.path.dirname(path),
        config_dir=config_dir,
        decrypt=decrypt,
        asset_roots=asset_roots,
    )


def collect_content(
    content: t.Mapping[str, t.Any] | str,
    *,
    base_dir: str,
    config_dir: str,
    decrypt: Decrypt,
    asset_roots: t.Sequence[str] = (),
) -> Bundle:
    """Collect a template that is given as data, or as YAML text. It is named after its image.

    :param base_dir: The directory that relative paths in it begin at.
    :param asset_roots: Directories that templates share.
    :raises TemplateError: It is not valid YAML, names files that are not there, or holds encrypted values that would
        not be kept secret; the message lists all of them.
    """
    if isinstance(content, str):
        data = content.encode("utf-8")
    else:
        problems = [Problem(Origin(_CONTENT, 0, path), _NO_SECRET) for path in _secrets(content, ())]
        if problems:
            raise template_error("The image template", problems)
        # JSON is YAML. Whatever is no JSON type, such as a date, stands for its text.
        data = json.dumps(content, indent=2, default=str, ensure_ascii=False).encode("utf-8") + b"\n"
    template = parse_yaml(data, path=_CONTENT, what="The image template")
    image = template.get("image")
    name = image.get("name") if isinstance(image, LocatedMapping) else None
    stem = name if isinstance(name, str) and _FILE_NAME.match(name) else "template"
    return _collect(
        template,
        data,
        name=f"{stem}.yml",
        base_dir=os.path.abspath(base_dir),
        config_dir=config_dir,
        decrypt=decrypt,
        asset_roots=asset_roots,
    )


_NO_SECRET = (
    "The value is encrypted by ansible-vault, but only passwords of users are hidden from results and logs. Put what "
    "is secret into a file that ansible-vault encrypts, and name that in additionalFiles or scripts."
)


def _secrets(value: t.Any, path: Path) -> t.Iterator[Path]:
    """Yield where values stand that ansible-vault has encrypted, but that stages would show."""
    # Versions of Ansible that are too old have to get as far as saying so.
    from ansible.parsing.vault import VaultHelper

    if isinstance(value, dict):
        for key, item in value.items():
            yield from _secrets(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _secrets(item, (*path, index))
    elif path[-1:] != ("password",) and VaultHelper.get_ciphertext(value, with_tags=False) is not None:
        yield path


def _collect(
    template: LocatedMapping,
    data: bytes,
    *,
    name: str,
    base_dir: str,
    config_dir: str,
    decrypt: Decrypt,
    asset_roots: t.Sequence[str],
) -> Bundle:
    contents: dict[str, tuple[bytes | str, int]] = {f"{TEMPLATE_FOLDER}/{name}": (data, 0o600)}
    problems = []
    private_keys = set()
    for reference in file_references(template):
        if not reference.is_relative:
            # Where the build host has no such file, the controller's counts.
            if reference.is_repository_key and os.path.isfile(reference.name) and os.access(reference.name, os.R_OK):
                path = os.path.realpath(reference.name)
                contents.setdefault(f"{ABSOLUTE_FOLDER}{os.path.normpath(reference.name)}", _entry(path, decrypt))
            continue
        try:
            found = find_file(reference.name, directory=base_dir, root=base_dir)
            name_in_folder = os.path.normpath(reference.name)
            inside = f"{TEMPLATE_FOLDER}/{name_in_folder}"
            if name_in_folder.startswith(".."):
                # Out of the template's directory and into it again, by a name that it has on the controller alone.
                inside = f"{ASSET_FOLDER}/{asset_name(reference.name)}"
        except TemplateError as exc:
            asset = find_asset(reference.name, directory=base_dir, roots=asset_roots)
            if asset is None and _is_of_default(reference.name, template, config_dir):
                # It comes with the configuration.
                continue
            if asset is None:
                problems.append(Problem(reference.origin, str(exc)))
                continue
            found = asset
            inside = f"{ASSET_FOLDER}/{asset_name(reference.name)}"
        contents.setdefault(inside, _entry(found, decrypt))
        if reference.is_secret:
            private_keys.add(inside)
    if problems:
        raise template_error(f"The image template {template.origin.file}", problems)
    for path in _configuration(config_dir, template):
        content, mode = _entry(path, decrypt)
        contents[f"{CONFIG_FOLDER}/{os.path.relpath(path, config_dir)}"] = content, mode
        keys = _keys_of_default(content, path)
        private_keys.update(f"{CONFIG_FOLDER}/{os.path.relpath(key, config_dir)}" for key in keys)
    return Bundle(name, contents, sorted(private_keys.intersection(contents)))


def _is_of_default(name: str, template: LocatedMapping, config_dir: str) -> bool:
    """Tell whether a relative path means a file of the configuration, from the default template of a target on."""
    try:
        target = Target.from_data(template.get("target", {}))
        folder = os.path.dirname(load_provider(config_dir, template, target).default_template_path)
    except (ComposerError, AttributeError):
        # What is wrong with it is told where the template is checked.
        return False
    return find_asset(name, directory=folder, roots=(config_dir,)) is not None


def _keys_of_default(content: str, path: str) -> t.Iterator[str]:
    """Yield the paths of the private keys that a default template names, which lie in the configuration like itself.

    :param content: Path of its decrypted content.
    """
    if not path.endswith(".yml"):
        return
    try:
        data = read_yaml_bytes(content, what="The default template")
        # Most name none.
        if not any(all(step.encode() in data for step in field) for field in SECRET_FILE_FIELDS):
            return
        template = parse_yaml(data, path=path, what="The default template")
    except TemplateError:
        # The build host tells, if it needs the file.
        return
    for reference in file_references(template):
        if reference.is_relative and reference.is_secret:
            yield os.path.normpath(os.path.join(os.path.dirname(path), reference.name))


def _entry(path: str, decrypt: Decrypt) -> tuple[str, int]:
    mode = stat.S_IMODE(os.stat(path).st_mode) & 0o755
    return (decrypt(path) if is_encrypted(path) else path), mode


def _configuration(config_dir: str, template: LocatedMapping) -> t.Iterator[str]:
    """Yield the files of the template's operating system and those that all share, which default templates may extend.

    When it is none of the known systems, these are the files that tell which ones are.

    :raises TemplateError: The directory holds no configuration.
    """
    root = os.path.join(config_dir, "osv")
    if not os.path.isdir(root):
        raise TemplateError(
            f"The configuration directory {config_dir} holds no providers.",
            remedy="Let config_dir name a directory with osv/{os}/{dist}/config.yml below it.",
        )
    target = template.get("target")
    name = target.get("os") if isinstance(target, LocatedMapping) else None
    is_known = isinstance(name, str) and name in known_systems(config_dir)
    roots = system_directories(config_dir, str(name)) if is_known else (root,)
    for directory, folders, files in itertools.chain.from_iterable(os.walk(path) for path in roots):
        folders[:] = sorted(folder for folder in folders if not folder.startswith((".", "__")))
        for file in sorted(files):
            path = os.path.join(directory, file)
            if file.startswith(".") or not (is_known or file == "config.yml"):
                continue
            if not os.path.realpath(path).startswith(os.path.realpath(config_dir) + os.sep) or not os.path.isfile(path):
                raise TemplateError(
                    f"{path} is no file of the configuration directory.", remedy="Replace it by a plain file."
                )
            yield path


__all__ = ("OWN_CONFIG", "Bundle", "Decrypt", "collect_content", "collect_file", "is_encrypted")
