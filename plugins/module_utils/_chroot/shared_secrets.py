# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Shared secrets: what is left in a finished tree that all machines made from the image would have in common."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.layers import Layer
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._machine_secret import machine_secret
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

#: In the notes of the layer of the configuration: see :class:`MachineSecrets`.
MADE, KEPT, BROUGHT = "made by machines", "kept", "brought by the template"

_SHARED = "All machines that are made from the image share"


def shared_secrets(
    layers: t.Sequence[Layer], *, differing: t.Mapping[str, t.Sequence[str]], has_writable_etc: bool
) -> t.List[str]:
    """Return what the machines would share, and what they cannot make, as sentences.

    :param layers: The layers of the tree, the lowest first.
    :param differing: Names of layers -> the files that are others when the layer is made a second time.
    :param has_writable_etc: Whether a machine can write to /etc.
    """
    found: t.Dict[str, str] = {}
    made: t.Dict[str, str] = {}
    brought: t.Set[str] = set()
    for layer in layers:
        found.update({path: f"{_SHARED} {path}: {why}." for path, why in layer.notes.get(KEPT, {}).items()})
        made.update(layer.notes.get(MADE, {}))
        brought.update(layer.notes.get(BROUGHT, ()))
    for index, layer in enumerate(layers):
        keys = [path for path in layer.private_keys if path not in brought]
        for path in _that_count(layers, index, keys):
            found.setdefault(path, f"{_SHARED} {path}, {layer.private_keys[path]}.")
        others = [
            path
            for path in differing.get(layer.name, ())
            if path not in brought and path not in layer.private_keys and machine_secret(path) is None
        ]
        for path in _that_count(layers, index, others):
            found.setdefault(
                path,
                f"{_SHARED} {path}, which is another one each time that the {layer.name} layer is made: it may hold a "
                "secret, or what machines are told apart by.",
            )
    if not has_writable_etc:
        for path, who in made.items():
            if path.startswith("/etc/") and path not in found:
                found[path] = (
                    f"No machine gets {path}, which {who} would make: systemConfig.immutability.etc is readonly."
                )
    return [found[path] for path in sorted(found)]


def _that_count(layers: t.Sequence[Layer], index: int, paths: t.Sequence[str]) -> t.List[str]:
    """Return those of a layer's paths that the whole tree shows as the layer has them."""
    if not paths:
        return []
    above = [TreeFiles(layer.root) for layer in layers[index + 1 :]]
    with RootTree([layer.root for layer in layers]).mounted() as root:
        whole = TreeFiles(root)
        return [
            path
            for path in paths
            if _has(whole, path, unless_known=True)
            and not any(_has(files, path, unless_known=False) for files in above)
        ]


def _has(files: TreeFiles, path: str, *, unless_known: bool) -> bool:
    """Tell whether there is something.

    :param unless_known: What is said of a path that has been written in another form: see P(layers._written).
    """
    if "\\" in path:
        return unless_known
    # A directory above it may be gone, and a file in its place.
    with contextlib.suppress(ChrootError):
        return files.exists(path, follow_last=False)
    return False


def strict_error(problems: t.Sequence[str]) -> ChrootError:
    """Return the error that refuses such an image."""
    return ChrootError(
        "The image is not fit for more than one machine, and image_build_strict (the option strict) is set: "
        + " ".join(problems),
        remedy="Have each machine make it: remove the file in systemConfig.scripts.postInstall and enable a unit of "
        "systemConfig.additionalFiles that makes it. What all machines shall have in common belongs into "
        "systemConfig.additionalFiles. See docs/tasks/per-machine-secrets.md.",
        details={"machine_secrets": list(problems)},
    )


__all__ = ("BROUGHT", "KEPT", "MADE", "shared_secrets", "strict_error")
