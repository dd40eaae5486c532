# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The picture of a lock's dependencies in Graphviz' language, and what of it is shown.

An image has hundreds of packages with thousands of dependencies, most of them among the essential packages, which are
the same in every image. So these are one box, unless all is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool, has_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._io import write_file

#: The packages of a lock, by name.
Packages = t.Mapping[str, t.Mapping[str, t.Any]]

#: What can be shown, beside V(why:PACKAGE).
VIEWS: t.Sequence[str] = ("requested", "full")
_WHY = "why:"

# Fill and border of the boxes by reason, and the words of the legend.
_COLOURS: t.Mapping[str, t.Tuple[str, str, str]] = {
    "essential": ("#fff4d6", "#f5c518", "EssentialPkgList"),
    "kernel": ("#d6eaf8", "#1f618d", "Kernel"),
    "bootloader": ("#fdebd0", "#d35400", "Bootloader"),
    "system": ("#d4efdf", "#27ae60", "SystemConfig.Packages"),
    "dependency": ("white", "#666666", "Dependency"),
}
_FOLDED = "essential packages"

# The picture is a courtesy, for which nobody waits long.
_DRAWING_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class View:
    """What of the dependencies is shown.

    :ivar name: V(requested): what the template, the kernel and the bootloader bring, and the essential packages with
        all that they need as one box. V(full): every package. V(why): why one package is there.
    :ivar package: That package.
    """

    name: str
    package: str = ""

    @classmethod
    def parse(cls, text: str) -> View:
        """Read V(requested), V(full) or V(why:PACKAGE).

        :raises ResolveError: It is something else.
        """
        if text in VIEWS:
            return cls(text)
        if text.startswith(_WHY) and text != _WHY:
            return cls("why", text[len(_WHY) :])
        raise ResolveError(
            f"There is no view {text!r} of the dependency graph.", remedy=f"Use {', '.join(VIEWS)} or why:PACKAGE."
        )

    def __str__(self) -> str:
        return f"{_WHY}{self.package}" if self.package else self.name


def dot_of(packages: t.Iterable[t.Mapping[str, t.Any]], view: View) -> str:
    """Return the picture of a lock's packages, coloured and grouped by reason, with a legend.

    :raises ResolveError: The view is about a package that is not among them.
    """
    known: Packages = {package["name"]: package for package in sorted(packages, key=lambda item: str(item["name"]))}
    if view.name == "why":
        nodes, edges = _chains(known, view.package)
    else:
        nodes = list(known)
        edges = [(name, target) for name in known for target in sorted(known[name]["depends"])]
    folded = {name for name in nodes if view.name == "requested" and known[name]["layer"] == 0}
    lines = [
        "digraph G {",
        "  rankdir=LR;",
        "  concentrate=true;",
        '  node [shape=box, style=filled, fillcolor="white", color="#666666"];',
    ]
    for reason, (fill, border, label) in _COLOURS.items():
        members = [_quoted(name) for name in nodes if known[name]["reason"] == reason and name not in folded]
        if reason == "essential" and folded:
            members.append(f'{_quoted(_FOLDED)} [label="{len(folded)} {_FOLDED}", peripheries=2]')
        if not members:
            continue
        if reason == "dependency":
            # They belong to those who need them, wherever these are.
            lines.extend(f"  {member};" for member in members)
            continue
        lines += [f"  subgraph cluster_{reason} {{", f'    label="{label}";', "    style=dotted;"]
        lines.append(f'    node [fillcolor="{fill}", color="{border}"];')
        lines += [*(f"    {member};" for member in members), "  }"]
    # That nearly every package needs one of those that are folded is no news.
    lines.extend(f"  {_quoted(name)} -> {_quoted(to)};" for name, to in edges if not folded.intersection((name, to)))
    lines += ["  subgraph cluster_legend {", '    label="Legend";', "    style=dashed;"]
    for reason, (fill, border, label) in _COLOURS.items():
        lines.append(f'    "legend:{reason}" [label="{label}", fillcolor="{fill}", color="{border}"];')
    lines += ["  }", "}"]
    return "\n".join(lines) + "\n"


def draw(path: str, runner: CommandRunner) -> str:
    """Draw a picture that is written in Graphviz' language, where Graphviz is installed.

    Its bytes depend on Graphviz and the fonts of the host, so it is for looking at, and never published.

    :returns: The path of the SVG file beside it; empty where there is none, or when drawing takes too long.
    """
    svg = f"{os.path.splitext(path)[0]}.svg"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(svg)
    if not has_tool("dot"):
        return ""
    try:
        done = runner.run([find_tool("dot"), "-Tsvg", path], timeout=_DRAWING_SECONDS, log_output=False)
    except CommandError:
        # It is in the log.
        return ""
    write_file(svg, done.stdout)
    return svg


def _chains(packages: Packages, wanted: str) -> t.Tuple[t.List[str], t.List[t.Tuple[str, str]]]:
    """Return the shortest chain to a package from each requested one that needs it: packages, and who needs whom."""
    if wanted not in packages:
        near = difflib.get_close_matches(wanted, packages, n=3)
        raise ResolveError(
            f"The dependency graph cannot tell why {wanted!r} is in the image: it is not.",
            remedy=f"Did you mean {' or '.join(near)}?" if near else "The lock has the names of all packages.",
        )
    users: t.Dict[str, t.List[str]] = {name: [] for name in packages}
    for name, package in packages.items():
        for target in package["depends"]:
            if target in users:
                users[target].append(name)
    towards: t.Dict[str, str] = {wanted: ""}
    level = [wanted]
    while level:
        above = []
        for name in level:
            for user in users[name]:
                if user not in towards:
                    towards[user] = name
                    above.append(user)
        level = above
    nodes: t.Set[str] = {wanted}
    for name in list(towards):
        if packages[name]["reason"] != "dependency":
            while name:
                nodes.add(name)
                name = towards[name]
    return sorted(nodes), [(name, towards[name]) for name in sorted(nodes) if towards[name]]


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


__all__ = ("VIEWS", "View", "dot_of", "draw")
