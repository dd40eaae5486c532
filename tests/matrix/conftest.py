# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The small tree, the record of what passes, and whose turn it is."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import Workspace
from ansible_collections.os_image.composer.tests.matrix.cells import BOOTS, CELLS, Boot, Cell, Refused
from ansible_collections.os_image.composer.tests.matrix.covering import covering
from ansible_collections.os_image.composer.tests.matrix.images import template
from ansible_collections.os_image.composer.tests.matrix.state import MatrixState, steps_of
from ansible_collections.os_image.composer.tests.support.disk_tree import make_tree
from ansible_collections.os_image.composer.tests.support.emulation import emulated
from ansible_collections.os_image.composer.tests.support.rpm_distribution.provider import served_provider
from ansible_collections.os_image.composer.tests.support.turn import Turn, current_turn

_STATE = pytest.StashKey[MatrixState]()
_TURN = pytest.StashKey[Turn]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rotation", action="store_true", help="compose a covering set only, and boot only the third whose turn it is"
    )
    parser.addoption("--turn", default="", help="the turn; the one that follows from the commit, if empty")


def _cell(item: pytest.Item) -> Boot | Cell | Refused | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("cell") if callspec is not None else None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_STATE] = MatrixState(datetime.date.today())
    try:
        config.stash[_TURN] = current_turn(config.getoption("--turn"))
    except ValueError as exc:
        raise pytest.UsageError(str(exc)) from exc


def pytest_report_header(config: pytest.Config) -> str | None:
    return str(config.stash[_TURN]) if config.getoption("--rotation") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--rotation"):
        composed, turn = set(covering(CELLS)), config.stash[_TURN].number
        later = [item for item in items if _is_left_out(_cell(item), composed, turn)]
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if item not in later]


def _is_left_out(cell: Boot | Cell | Refused | None, composed: set[Cell], turn: int) -> bool:
    return (isinstance(cell, Boot) and cell.turn != turn) or (isinstance(cell, Cell) and cell not in composed)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> t.Generator[None, t.Any, None]:
    outcome = yield
    cell = _cell(item)
    if cell is not None and outcome.get_result().failed:
        item.config.stash[_STATE].failed(cell.name, steps_of(cell))


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[_STATE].write(everything=not session.config.getoption("--rotation"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--rotation"):
        return
    for boot in BOOTS:
        if boot.turn != config.stash[_TURN].number:
            last = config.stash[_STATE].last(boot.name, "booted")
            terminalreporter.write_line(f"Not booted in this turn, last passed {last}: {boot.name}")


@pytest.fixture(scope="session")
def state(request: pytest.FixtureRequest) -> MatrixState:
    """The record of what passes."""
    return request.config.stash[_STATE]


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    """The directories that these tests share with the end-to-end tests."""
    return Workspace.prepare()


@pytest.fixture(scope="session")
def rpm_options(workspace: Workspace) -> t.Iterator[dict[str, t.Any]]:
    """What the pipeline has to be told about the RPM distribution, whose repository is served meanwhile."""
    config_dir = workspace.path("matrix-rpm-config")
    with served_provider(config_dir) as mirrors:
        yield {"config_dir": config_dir, "stage_args": {"pkg_resolve": {"mirrors": mirrors}}}


@pytest.fixture(scope="session")
def emulated_aarch64() -> t.Iterator[None]:
    """Programs for aarch64 run meanwhile."""
    with emulated("aarch64"):
        yield


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The small tree, with files in place of the distribution's signed programs."""
    made = make_tree(tmp_path_factory.mktemp("matrix") / "tree")
    for path in (
        "usr/lib/shim/shimx64.efi.signed",
        "usr/lib/shim/mmx64.efi.signed",
        "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    ):
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(path)
    return made


@pytest.fixture(scope="session")
def arm_tree(
    tree: pathlib.Path, workspace: Workspace, emulated_aarch64: None, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """The small tree with the bootloaders of another machine, out of its packages."""
    made = tmp_path_factory.mktemp("matrix") / "arm-tree"
    subprocess.run(["cp", "-a", str(tree), str(made)], check=True)
    for path in ("usr/lib/systemd/boot/efi", "usr/lib/shim", "usr/lib/grub"):
        shutil.rmtree(made / path)
    cell = next(boot for boot in BOOTS if boot.arch == "aarch64")
    pipeline = workspace.pipeline(template(cell), directory=workspace.root)
    build_dir = pipeline.run(until="pkg_fetch")["image_template_validate"].result["build_dir"]
    outputs = json.loads(pathlib.Path(build_dir, "stages/pkg_fetch.json").read_text(encoding="utf-8"))["outputs"]
    wanted = re.compile(r"(systemd-boot-efi|grub-efi-arm64-bin|grub-efi-arm64-signed|shim-[a-z0-9-]+)_")
    for output in outputs:
        if wanted.match(os.path.basename(output["path"])):
            subprocess.run(["dpkg-deb", "--extract", output["path"], str(made)], check=True)
    return made
