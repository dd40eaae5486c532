# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The solution for an image: its template's requests, answered from verified metadata, as a lock."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import RepositoryMetadata
from ansible_collections.os_image.composer.plugins.module_utils._resolver.families import resolver_of
from ansible_collections.os_image.composer.plugins.module_utils._resolver.graph import DependencyGraph
from ansible_collections.os_image.composer.plugins.module_utils._resolver.lock import make_lock
from ansible_collections.os_image.composer.plugins.module_utils._resolver.older import older_versions
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import At
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Selection, listed, requests_of
from ansible_collections.os_image.composer.plugins.module_utils._resolver.resolver import Resolver
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument


def resolve(
    document: TemplateDocument,
    repositories: t.Sequence[RepositoryMetadata],
    *,
    cache_dir: str | None,
    source_date_epoch: int | None = None,
    warn: t.Callable[[str], None] | None = None,
    at: At | None = None,
    optional: t.Callable[[], t.Sequence[RepositoryMetadata]] | None = None,
) -> Facts:
    """Return the lock of an image: decide which packages it gets.

    :param repositories: Verified metadata, the provider's first.
    :param cache_dir: Where the resolver keeps the binary form of package indexes.
    :param source_date_epoch: The date of the image; by default that of the newest package, or of the newest
        repository where indexes do not tell when packages were made.
    :param warn: Gets in full sentences what the user should know.
    :param optional: Returns the repositories that the provider knows and the template does not use, for messages.
    :param at: Is told of each step, see M(_resolver.apart).
    :raises ResolveError: Packages are missing, or in conflict.
    """
    resolver: Resolver = resolver_of(document.provider.family)(
        arch=document.provider.package_arch,
        cache_dir=cache_dir,
        weak=document.system.weak_dependencies,
        modules=document.system.modules or (),
    )
    pool = resolver.pool
    if at is not None:
        pool.at = at
    pool.load(repositories)
    if optional is not None:
        pool.elsewhere.optional = optional
    pool.at(f"looking for packages that fit together in {pool.searched()}")
    if warn is not None:
        for name, labels in pool.left_out.items():
            warn(
                f"Not taken from the repository {name!r}, because they would replace packages of the provider: "
                f"{listed(labels)}. Packages that shall be taken nevertheless belong into its allowPackages, which "
                "then has to name all that are taken from it ('*' for every one)"
            )
    requests = requests_of(document.provider, document.system, pool)
    selection = resolver.select(requests)
    chosen = resolver.solve(selection)
    older = older_versions(pool, chosen, selection)
    if warn is not None:
        for note in resolver.notes:
            warn(note.rstrip("."))
        if older:
            warn(f"Older versions are taken: {listed(older)}")
    graph = DependencyGraph(pool, chosen, selection.solvables)
    lock = make_lock(
        provider_id=document.provider_id,
        pool=pool,
        graph=graph,
        base_layer=_base_layer(resolver, graph, selection.of_reason("essential"), chosen),
        requested=list(dict.fromkeys(request.text for request in requests)),
        repositories=repositories,
        source_date_epoch=source_date_epoch
        or pool.date_of(chosen)
        or max((repository.date for repository in repositories), default=0),
    )
    if older:
        lock["older_versions"] = older
    modules = resolver.modules_in_use(chosen, requests)
    if modules:
        lock["modules"] = modules
    return lock


def _base_layer(resolver: Resolver, graph: DependencyGraph, essential: Selection, chosen: set[int]) -> set[str]:
    """Return the names of the packages of the chroot environment.

    What the essential packages need by themselves is the same for every image of a provider, so that all of them share
    one chroot environment. Only where the image's own packages decide an alternative otherwise (another awk, say) it
    has to be the image's own.
    """
    alone = resolver.alone(essential)
    wanted = alone if alone <= chosen else chosen.intersection(essential.solvables)
    return graph.closure({resolver.pool.name(solvable) for solvable in wanted})


__all__ = ("resolve",)
