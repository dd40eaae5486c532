# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cases by name, and the images that the tests share."""

from __future__ import annotations

import datetime
import os
import shutil
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import BuiltImage, Guest, Workspace, boot
from ansible_collections.os_image.composer.tests.e2e.support.template import TestTemplate
from ansible_collections.os_image.composer.tests.matrix.cells import WHOLE
from ansible_collections.os_image.composer.tests.matrix.state import MatrixState
from ansible_collections.os_image.composer.tests.support.turn import Turn, current_turn

_STATE = pytest.StashKey[MatrixState]()
_TURN = pytest.StashKey[Turn]()
_CELLS = {whole.name: whole for whole in WHOLE}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--only", default="", help="names of cases, with commas between them")
    parser.addoption("--turn", default="", help="the turn; the one that follows from the commit, if empty")
    parser.addoption("--docs", action="store_true", help="note in docs/matrix.json what passes, not in build/matrix")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "case(name): the case that a test belongs to")
    config.addinivalue_line(
        "markers",
        "cells(names, steps=...): the cells of the matrix whose steps have passed when the test has; it runs when the "
        "turn of one of them has come, and whenever its case is asked for",
    )
    config.addinivalue_line("markers", "only_by_name(reason): why the test runs only when its case is asked for")
    config.stash[_STATE] = MatrixState(datetime.date.today())
    try:
        config.stash[_TURN] = current_turn(config.getoption("--turn"))
    except ValueError as exc:
        raise pytest.UsageError(str(exc)) from exc


def pytest_report_header(config: pytest.Config) -> str:
    return str(config.stash[_TURN])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    cases = {item.nodeid: mark.args[0] for item in items if (mark := item.get_closest_marker("case"))}
    nameless = [item.nodeid for item in items if item.nodeid not in cases]
    if nameless:
        raise pytest.UsageError(f"These tests belong to no case: {', '.join(nameless)}")
    _check_cells(items, cases)
    wanted = {name for name in config.getoption("--only").replace(",", " ").split() if name}
    unknown = wanted - set(cases.values())
    if unknown:
        raise pytest.UsageError(
            f"There is no case {', '.join(sorted(unknown))}. The cases: {', '.join(sorted(set(cases.values())))}."
        )
    if wanted:
        config.hook.pytest_deselected(items=[item for item in items if cases[item.nodeid] not in wanted])
        items[:] = [item for item in items if cases[item.nodeid] in wanted]
    else:
        _leave_out(config, items)


def _check_cells(items: list[pytest.Item], cases: dict[str, str]) -> None:
    """Check that the tests know the cells that the matrix has, by their names and cases."""
    for item in items:
        wrong = [name for name in _cells(item) if name not in _CELLS or _CELLS[name].case != cases[item.nodeid]]
        if wrong:
            raise pytest.UsageError(f"{item.nodeid}: the matrix has no cell {wrong} of its case.")


def _cells(item: pytest.Item) -> list[str]:
    return [name for mark in item.iter_markers("cells") for name in mark.args]


def _leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what everybody runs, and of what takes long that whose turn it is."""
    due = (None, config.stash[_TURN].number)
    left_out = [
        item
        for item in items
        if item.get_closest_marker("only_by_name")
        or ((names := _cells(item)) and not any(_CELLS[name].turn in due for name in names))
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> t.Generator[None, t.Any, None]:
    outcome = yield
    report, state = outcome.get_result(), item.config.stash[_STATE]
    for mark in item.iter_markers("cells"):
        for name in mark.args:
            if report.failed:
                state.failed(name, mark.kwargs["steps"])
            elif report.passed and report.when == "call":
                for step in mark.kwargs["steps"]:
                    state.passed(name, step)


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[_STATE].write(everything=session.config.getoption("--docs"))


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    """The directories that all end-to-end tests share."""
    if shutil.which("ansible-playbook") is None:
        pytest.exit("ansible-playbook is not in PATH; run the tests by make e2e.", returncode=2)
    return Workspace.prepare()


@pytest.fixture(scope="session")
def build(workspace: Workspace) -> t.Callable[[TestTemplate], BuiltImage]:
    """Build the image of a template, once a session."""
    built: dict[str, BuiltImage] = {}

    def build_once(template: TestTemplate) -> BuiltImage:
        if template.name not in built:
            built[template.name] = workspace.build(template)
        return built[template.name]

    return build_once


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest, build: t.Callable[[TestTemplate], BuiltImage]) -> BuiltImage:
    """The image of the template that the test module is about (a parameter, or C(TEMPLATE))."""
    return build(getattr(request, "param", None) or request.module.TEMPLATE)


@pytest.fixture(scope="module")
def guest(image: BuiltImage) -> t.Iterator[Guest]:
    """The image, booted, with root logged in at its serial console."""
    with boot(image, os.path.join(image.output_dir, "..", "boot-test")) as machine:
        yield machine
