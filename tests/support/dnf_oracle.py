# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An oracle: dnf's own library, asked what dnf would install.

Run as a program, this file needs nothing but the distribution's Python with dnf: it reads a question from its standard
input, and writes the answers to its standard output, both as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import typing as t

_PYTHON = "/usr/bin/python3"

#: Name, [epoch:]version-release and architecture.
Chosen = t.Tuple[str, str, str]


def dnf_answers(url: str, requests: t.Sequence[t.Sequence[str]], *, weak: bool = False) -> list[set[Chosen] | str]:
    """Return what dnf would install into an empty root, for each request.

    :param url: The repository.
    :param requests: Lists of what would be arguments of C(dnf install).
    :param weak: Take what packages recommend as well.
    :returns: The packages, or what dnf says when they cannot be had.
    """
    question = {"url": url, "requests": [list(request) for request in requests], "weak": weak}
    with tempfile.TemporaryDirectory(prefix="dnf-") as home:
        done = subprocess.run(
            [_PYTHON, __file__],
            # Debian's rpm has its database in the home directory.
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": home},
            input=json.dumps(question),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise AssertionError(f"dnf has failed:\n{done.stderr}")
    return [
        answer if isinstance(answer, str) else {(str(name), str(evr), str(arch)) for name, evr, arch in answer}
        for answer in json.loads(done.stdout)
    ]


def _answer(question: t.Mapping[str, t.Any], directory: str) -> t.Iterator[list[Chosen] | str]:
    import dnf
    import dnf.exceptions

    base = dnf.Base()
    conf = base.conf
    conf.installroot = f"{directory}/root"
    conf.cachedir = f"{directory}/cache"
    conf.logdir = f"{directory}/log"
    conf.persistdir = f"{directory}/state"
    os.mkdir(conf.logdir)
    conf.reposdir = []
    conf.varsdir = []
    conf.plugins = False
    # In the place of what an empty root does not tell.
    conf.substitutions["releasever"] = "1"
    conf.best = True
    conf.install_weak_deps = question["weak"]
    base.repos.add_new_repo("oracle", conf, baseurl=[question["url"]])
    base.fill_sack(load_system_repo=False)
    for request in question["requests"]:
        base.reset(goal=True)
        try:
            for word in request:
                base.install(word)
            base.resolve()
        except dnf.exceptions.Error as exc:
            yield str(exc)
            continue
        yield [(package.name, package.evr, package.arch) for package in base.transaction.install_set]
    base.close()


def _main() -> None:
    json.dump(list(_answer(json.load(sys.stdin), os.environ["HOME"])), sys.stdout)


if __name__ == "__main__":
    _main()
