# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Files and programs that come into the image beside packages: additional files, commands, scripts."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import partitions
from ansible_collections.os_image.composer.plugins.module_utils._checks.mounts import mounted_places
from ansible_collections.os_image.composer.plugins.module_utils._checks.partitions import is_esp
from ansible_collections.os_image.composer.plugins.module_utils._checks.paths import (
    VIRTUAL,
    enclosing,
    is_normal,
    resolved,
)
from ansible_collections.os_image.composer.plugins.module_utils._machine_secret import machine_secret
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject, doubles

SUBJECT = Subject("Files, commands and scripts")

# What the build empties at its end, beside the mount points of virtual file systems.
_EMPTIED = (
    "/tmp",  # noqa: S108
    "/var/tmp",  # noqa: S108
    "/var/cache/apt/archives",
    "/var/cache/dnf",
    "/var/cache/libdnf5",
    "/var/cache/tdnf",
    "/var/cache/yum",
    "/var/lib/apt/lists",
)

# Files that the build writes itself, and the part of systemConfig that says what is in them.
_WRITTEN_FILES: t.Mapping[str, str] = {
    "/etc/group": "users",
    "/etc/gshadow": "users",
    "/etc/hostname": "hostname",
    "/etc/locale.conf": "locale",
    "/etc/localtime": "timezone",
    "/etc/passwd": "users",
    "/etc/shadow": "users",
}

_INSTALLS = re.compile(r"\b(apt|apt-get|aptitude|dnf|microdnf|tdnf|yum|zypper)(\s+-\S+)*\s+(install|upgrade|update)\b")
_STARTS = re.compile(r"\bsystemctl(\s+-\S+)*\s+(start|restart|reload|stop|isolate)\b|\bservice\s+\S+\s+(re)?start\b")


def _files(template: LocatedMapping) -> t.List[t.Tuple[Path, LocatedMapping]]:
    base: Path = ("systemConfig", "additionalFiles")
    return [((*base, index), item) for index, item in enumerate(template["systemConfig"]["additionalFiles"])]


def _scripts(template: LocatedMapping) -> t.Iterator[t.Tuple[Path, LocatedMapping]]:
    for key in ("preInstall", "postInstall"):
        for index, item in enumerate(template["systemConfig"]["scripts"][key]):
            yield ("systemConfig", "scripts", key, index), item


def _commands(template: LocatedMapping) -> t.Iterator[t.Tuple[Path, str]]:
    """Yield all commands and scripts that stand in the template."""
    for index, item in enumerate(template["systemConfig"]["configurations"]):
        yield ("systemConfig", "configurations", index, "cmd"), item["cmd"]
    for path, item in _scripts(template):
        if "inline" in item:
            yield (*path, "inline"), item["inline"]


@SUBJECT.rule(
    "systemConfig.additionalFiles",
    "disk",
    example="""
    systemConfig:
      additionalFiles:
        - {local: agent.conf, final: /run/agent/agent.conf}
        - {local: agent.service, final: /lib/systemd/system/agent.service}
        - {local: other.service, final: /usr/lib/systemd/system/agent.service}
    """,
)
def final_paths_are_sound(template: LocatedMapping) -> t.Iterator[Finding]:
    """Files go to absolute, normalised paths that the image keeps, each of them once."""
    finals = [((*path, "final"), item["final"]) for path, item in _files(template)]
    esp = [item["mountPoint"] for _path, item in partitions(template) if is_esp(item)]
    for path, value in doubles((path, resolved(value)) for path, value in finals):
        yield path, f"Two files go to {value}. Remove one of them."
    names = {value for _path, value in finals}
    for path, value in finals:
        parent = value.rpartition("/")[0]
        while parent and parent not in names:
            parent = parent.rpartition("/")[0]
        virtual = enclosing(resolved(value), VIRTUAL)
        if value == "/" or not is_normal(value):
            yield (
                path,
                f"The path {value!r} must name a file, without //, . and .. in it. Correct it.",
            )
        elif parent:
            yield path, f"{value} lies below {parent}, to which a file goes too. Change one of them."
        elif virtual:
            yield path, f"{value} would not stay in the image, as {virtual} is empty there. Use another directory."
        elif enclosing(resolved(value), _EMPTIED):
            yield (
                path,
                f"{value} would not stay in the image, as the build empties {enclosing(resolved(value), _EMPTIED)}. "
                "Use another directory, or let systemd-tmpfiles make it at boot (tmpfiles.d).",
            )
        elif enclosing(value, mounted_places(template)):
            yield (
                path,
                f"{value} would not be seen, as disk.mounts has something at "
                f"{enclosing(value, mounted_places(template))}. Use another directory.",
            )
        elif enclosing(value, [point for point in esp if point]):
            yield (
                path,
                f"{value} lies on the EFI system partition, which the build fills itself. Use another directory.",
            )


@SUBJECT.advice(
    "systemConfig.additionalFiles",
    example="""
    systemConfig:
      additionalFiles:
        - {local: host_key, final: /etc/ssh/ssh_host_ed25519_key, mode: "0600"}
    """,
)
def files_are_for_all_machines(template: LocatedMapping) -> t.Iterator[Finding]:
    """No file gives all machines one identity."""
    for path, item in _files(template):
        secret = machine_secret(item["final"])
        if secret is not None and secret.is_identity:
            yield (
                (*path, "final"),
                f"All machines that are made from the image would share {item['final']}, by which each should be "
                "known. Remove the file: each machine makes its own at its first boot.",
            )


@SUBJECT.advice(
    "systemConfig.additionalFiles",
    example="""
    systemConfig:
      additionalFiles:
        - {local: hostname, final: /etc/hostname}
    """,
)
def files_do_not_replace_settings(template: LocatedMapping) -> t.Iterator[Finding]:
    """No file takes the place of one that the build writes from the template."""
    for path, item in _files(template):
        setting = _WRITTEN_FILES.get(item["final"])
        if setting:
            yield (
                (*path, "final"),
                f"The file replaces {item['final']}, which the build writes from systemConfig.{setting} and from "
                f"packages. Use {setting} instead.",
            )


@SUBJECT.advice(
    "systemConfig.additionalFiles",
    example="""
    systemConfig:
      additionalFiles:
        - {local: agent, final: /usr/local/bin/agent, mode: "0777"}
        - {local: helper, final: /usr/local/bin/helper, mode: "4755"}
    """,
)
def file_modes_are_narrow(template: LocatedMapping) -> t.Iterator[Finding]:
    """Files cannot be changed by everybody, and do not lend their owner's rights."""
    for path, item in _files(template):
        mode = int(item.get("mode", "0"), 8)
        if mode & 0o002:
            yield (
                (*path, "mode"),
                f"Everybody on the machine can change {item['final']} (mode {item['mode']}). Use 0644, or 0755.",
            )
        if mode & 0o6000:
            yield (
                (*path, "mode"),
                f"Whoever runs {item['final']} gets the rights of its owner or group (mode {item['mode']}). Use 0755, "
                "unless that is meant.",
            )


@SUBJECT.rule(
    "systemConfig.configurations",
    "systemConfig.scripts",
    example="""
    systemConfig:
      configurations:
        - cmd: " "
    """,
)
def commands_say_something(template: LocatedMapping) -> t.Iterator[Finding]:
    """Commands and scripts are not blank."""
    for path, text in _commands(template):
        if not text.strip():
            what = "The command is blank. Give one" if path[-1] == "cmd" else "The script is blank. Write one"
            yield path, f"{what}, or remove the entry."


@SUBJECT.advice(
    "systemConfig.configurations",
    "systemConfig.scripts",
    example="""
    systemConfig:
      configurations:
        - cmd: apt-get install -y curl
    """,
)
def packages_come_from_the_lock(template: LocatedMapping) -> t.Iterator[Finding]:
    """No command installs packages: they would be in no lock and no SBOM."""
    for path, text in _commands(template):
        found = _INSTALLS.search(text)
        if found:
            yield (
                path,
                f"What {found.group(0)!r} installs is in no lock and no SBOM, and the next build may get something "
                "else. Name the packages in systemConfig.packages.",
            )


@SUBJECT.advice(
    "systemConfig.configurations",
    "systemConfig.scripts",
    example="""
    systemConfig:
      configurations:
        - cmd: systemctl restart nginx
    """,
)
def commands_wait_for_the_boot(template: LocatedMapping) -> t.Iterator[Finding]:
    """No command starts a service: nothing runs in an image that is being built."""
    for path, text in _commands(template):
        found = _STARTS.search(text)
        if found:
            yield (
                path,
                f"{found.group(0)!r} has no effect while the image is built, as no service runs in it. Name the unit "
                "in systemConfig.services.enable.",
            )


@SUBJECT.advice(
    "systemConfig.scripts",
    example="""
    systemConfig:
      scripts:
        postInstall:
          - {name: tidy, inline: rm -rf /var/cache/agent}
          - {name: tidy, inline: rm -rf /var/log/agent}
    """,
)
def script_names_are_unique(template: LocatedMapping) -> t.Iterator[Finding]:
    """Scripts can be told apart by their names."""
    for path, name in doubles(((*path, "name"), item["name"]) for path, item in _scripts(template)):
        yield path, f"Two scripts are called {name!r}: logs cannot tell them apart, and remove takes both. Rename one."


@SUBJECT.advice(
    "systemConfig.scripts",
    example="""
    systemConfig:
      scripts:
        postInstall:
          - {name: fetch the model, file: fetch.sh, network: true}
    """,
)
def scripts_stay_off_the_network(template: LocatedMapping) -> t.Iterator[Finding]:
    """What a script gets from the network is worth a word at each build."""
    for path, item in _scripts(template):
        if item["network"]:
            yield (
                (*path, "network"),
                "What this script gets from the network is in no lock and no SBOM, and the next build may get "
                "something else. Use packages or additionalFiles where that is possible.",
            )


__all__ = ("SUBJECT",)
