# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A rule: a function with the sections that it reads. Rules are collected by subject.

A rule yields the YAML path of each culprit and a message: the thing, the reason, the remedy. It runs only when the
sections that it reads have the right form.

To add a rule: write a function in the module of its subject, with the decorator :meth:`Subject.rule` or
:meth:`Subject.advice` and an example of what it refuses, which the page L(docs/template-checks.md) shows. A new subject
is a module of its own that is named in L(catalogue.py).
"""

from __future__ import annotations

import dataclasses
import inspect
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path

#: A YAML path in the merged template and a message.
Finding = t.Tuple[Path, str]
Check = t.Callable[[LocatedMapping], t.Iterator[Finding]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One thing that a template must, or should, live up to.

    :ivar sections: What it reads: sections of a template (V(disk)), or parts of systemConfig (V(systemConfig.users)).
    :ivar example: The offending part of a template, as YAML. Nothing else is wrong with it.
    """

    check: Check
    sections: t.FrozenSet[str]
    example: str

    @property
    def name(self) -> str:
        """What it demands, as the name of its function."""
        return self.check.__name__

    @property
    def sentence(self) -> str:
        """What it demands, in one sentence."""
        return (self.check.__doc__ or "").strip()


class Subject:
    """The rules about one part of a template, in the order in which they are written.

    :ivar title: What they are about.
    :ivar rules: Rules whose findings are errors.
    :ivar advices: Rules whose findings are warnings: the image can be built, but perhaps not as it was meant.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.rules: t.List[Rule] = []
        self.advices: t.List[Rule] = []

    def rule(self, *sections: str, example: str) -> t.Callable[[Check], Check]:
        """Register a function as a rule whose findings are errors; see :class:`Rule`."""
        return self._register(self.rules, sections, example)

    def advice(self, *sections: str, example: str) -> t.Callable[[Check], Check]:
        """Register a function as a rule whose findings are warnings."""
        return self._register(self.advices, sections, example)

    @staticmethod
    def _register(rules: t.List[Rule], sections: t.Iterable[str], example: str) -> t.Callable[[Check], Check]:
        def register(check: Check) -> Check:
            rules.append(Rule(check, frozenset(sections), inspect.cleandoc(example)))
            return check

        return register


def findings(
    template: LocatedMapping, rules: t.Iterable[Rule], *, without: t.Collection[str] = ()
) -> t.Iterator[Finding]:
    """Run rules over a merged template whose defaults are filled in.

    :param without: Sections that have not the right form; rules that read them are left out.
    """
    for rule in rules:
        if not rule.sections.intersection(without):
            yield from rule.check(template)


def doubles(values: t.Iterable[t.Tuple[Path, t.Any]]) -> t.Iterator[t.Tuple[Path, t.Any]]:
    """Yield what occurs for a second time; empty values do not count."""
    seen = set()
    for path, value in values:
        if value in seen:
            yield path, value
        elif value:
            seen.add(value)


__all__ = ("Finding", "Rule", "Subject", "doubles", "findings")
