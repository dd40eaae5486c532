# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The global configuration: finding its file on the controller, reading and checking it.

What it says takes the place of the roles' defaults, so it is read again and again, by each process that runs a task; a
file that has not changed is read once in each. Nothing here needs more than ansible-core has.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.loader import load_yaml
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Origin
from ansible_collections.os_image.composer.plugins.module_utils._template.problems import Problem, template_error
from ansible_collections.os_image.composer.plugins.module_utils._template.validation import describe, nearest, shown
from ansible_collections.os_image.composer.plugins.plugin_utils._template_bundle import OWN_CONFIG

#: The collection's own configuration; it has every setting.
OWN_FILE = os.path.join(OWN_CONFIG, "os-image-composer.yml")

#: Where a user's file is looked for when none is named, after the directories of the play: the first one counts.
STANDARD_PLACES = ("~/.config/os-image-composer/config", "/etc/os-image-composer/config")

_NAME = "os-image-composer"
_SUFFIXES = (".yml", ".yaml")
_WHAT = "The global configuration"

#: The name of a setting (keys with dots between them) -> its value.
Settings = t.Dict[str, t.Any]

#: Returns what is wrong with a value, the reason and the remedy in full sentences; an empty text when it is right.
Check = t.Callable[[t.Any], str]


def _whole_number(least: int, greatest: int) -> Check:
    def check(value: t.Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int):
            return _wrong_type(value, "a whole number")
        if not least <= value <= greatest:
            return f"{shown(value)} is out of range. Give a number between {least} and {greatest}."
        return ""

    return check


def _path(*, may_be_empty: bool) -> Check:
    def check(value: t.Any) -> str:
        if not isinstance(value, str):
            return _wrong_type(value, "a text")
        if not value and not may_be_empty:
            return "The text is empty. Give a directory, or remove the key."
        if "\n" in value or "\t" in value:
            return f"{shown(value)} is no path. Remove line breaks and tabs."
        return ""

    return check


def _choice(*choices: str) -> Check:
    def check(value: t.Any) -> str:
        if not isinstance(value, str):
            return _wrong_type(value, "a text")
        return "" if value in choices else f"{shown(value)} is not known here. {nearest(value, choices)}"

    return check


def _wrong_type(value: t.Any, expected: str) -> str:
    if value is None:
        return f"The value is empty, but must be {expected}. Give one, or remove the key."
    return f"The value is {describe(value)}, but must be {expected}."


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting.

    :ivar is_path: Whether it is a path; a relative one begins at the directory of the file that has it.
    """

    check: Check
    is_path: bool = False


#: Every setting by its name.
SETTINGS: t.Mapping[str, Setting] = {
    "workers": Setting(_whole_number(1, 100)),
    "config_dir": Setting(_path(may_be_empty=True), is_path=True),
    "cache_dir": Setting(_path(may_be_empty=False), is_path=True),
    "work_dir": Setting(_path(may_be_empty=False), is_path=True),
    "temp_dir": Setting(_path(may_be_empty=True), is_path=True),
    "download.min_rate": Setting(_whole_number(0, 1_000_000_000)),
    "download.timeout": Setting(_whole_number(1, 604_800)),
    "download.refresh_timeout": Setting(_whole_number(1, 604_800)),
    "logging.level": Setting(_choice("debug", "info", "warn", "error")),
    "logging.file": Setting(_path(may_be_empty=True), is_path=True),
}


def find_configuration(named: str | None, directories: t.Sequence[str]) -> str:
    """Return the path of the file that counts.

    :param named: The file that the user has named, if any.
    :param directories: Where relative names and C(os-image-composer.yml) are looked for: the playbook's directory, and
        the current one.
    :raises TemplateError: The named file does not exist, or the one that was found lies where everybody may write.
    """
    if named:
        expanded = os.path.expanduser(named)
        places = [os.path.abspath(os.path.join(directory, expanded)) for directory in directories]
        found = next((place for place in places if os.path.lexists(place)), None)
        if found is None:
            raise TemplateError(
                f"{_WHAT} {named} does not exist; it was looked for as {', '.join(dict.fromkeys(places))}.",
                remedy="Correct its name, or let nothing name it.",
            )
        return found
    stems = [os.path.join(os.path.abspath(directory), _NAME) for directory in directories]
    stems += [os.path.expanduser(place) for place in STANDARD_PLACES]
    for path in (stem + suffix for stem in dict.fromkeys(stems) for suffix in _SUFFIXES):
        # A symbolic link that leads nowhere is found too: reading it says what is wrong with it.
        if os.path.lexists(path):
            _refuse_public_directory(path)
            return path
    return OWN_FILE


def _refuse_public_directory(path: str) -> None:
    """Refuse a file that was found by chance, and that somebody else may have put there.

    :raises TemplateError: Everybody may write into its directory.
    """
    directory = os.path.dirname(path)
    if os.stat(directory).st_mode & stat.S_IWOTH:
        raise TemplateError(
            f"{_WHAT} {path} is not used, because everybody may write into {directory}.",
            remedy="Put it elsewhere, or name it by the environment variable OS_IMAGE_COMPOSER_CONFIG.",
        )


# Path -> (what tells whether the file has changed, its settings).
_known: t.Dict[str, t.Tuple[t.Tuple[int, int, int], Settings]] = {}


def read_configuration(path: str) -> Settings:
    """Return the settings of a file; those that it leaves out are the collection's own.

    :raises TemplateError: The file cannot be read or is not valid; the message lists everything that is wrong.
    """
    try:
        status = os.lstat(path)
    except OSError:
        # Reading it says what is wrong.
        return _read(path)
    version = (status.st_mtime_ns, status.st_size, status.st_ino)
    if path not in _known or _known[path][0] != version:
        _known[path] = (version, _read(path))
    return _known[path][1]


def setting_of(settings: Settings, name: str) -> t.Any:
    """Return one setting by its name.

    :raises TemplateError: There is none of this name.
    """
    if name not in SETTINGS:
        raise TemplateError(
            f"{_WHAT} has no setting {shown(name)}.", remedy=nearest(name, SETTINGS) or "Give the name of a setting."
        )
    return settings[name]


def _read(path: str) -> Settings:
    data = load_yaml(path, what=_WHAT, keys="workers and work_dir")
    problems: t.List[Problem] = []
    own = dict(_checked(data, "", problems))
    if problems:
        raise template_error(f"{_WHAT} {path}", problems)
    if path == OWN_FILE:
        return own
    return {**read_configuration(OWN_FILE), **own}


def _checked(data: LocatedMapping, prefix: str, problems: t.List[Problem]) -> t.Iterator[t.Tuple[str, t.Any]]:
    """Yield the name and the value of each setting in a mapping; what is wrong is added to the problems."""
    known = list(dict.fromkeys(name[len(prefix) :].partition(".")[0] for name in SETTINGS if name.startswith(prefix)))
    for key, value in data.items():
        origin: Origin = data.origins[key]
        name = prefix + key
        if key not in known:
            problems.append(Problem(origin, f"Unknown key {shown(key)}. {nearest(key, known)}"))
        elif name in SETTINGS:
            wrong = SETTINGS[name].check(value)
            if wrong:
                problems.append(Problem(origin, wrong))
            else:
                yield name, _from(os.path.dirname(origin.file), value) if SETTINGS[name].is_path else value
        elif isinstance(value, LocatedMapping):
            yield from _checked(value, f"{name}.", problems)
        else:
            problems.append(Problem(origin, _wrong_type(value, "a mapping")))


def _from(directory: str, path: str) -> str:
    """Return a path that may begin at a directory; what the build host expands is left to it."""
    return path if not path or path.startswith(("~", "$")) else os.path.normpath(os.path.join(directory, path))


__all__ = (
    "OWN_FILE",
    "SETTINGS",
    "STANDARD_PLACES",
    "Setting",
    "Settings",
    "find_configuration",
    "read_configuration",
    "setting_of",
)
