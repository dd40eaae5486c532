# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Network interfaces: addresses, gateways, routes."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.checks.rule import Finding, Subject, doubles
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Mapping, Path

SUBJECT = Subject("Network")


def _ip_problem(text: str, *, version: int | None = None, prefix: bool = False) -> str | None:
    """Say what is wrong with an address."""
    try:
        address: t.Any = ipaddress.ip_interface(text) if prefix else ipaddress.ip_address(text)
    except ValueError:
        example = "192.0.2.10/24" if prefix else "192.0.2.1"
        return f"{text!r} is no IP address{' with a prefix length' if prefix else ''}. Write it like {example}."
    if prefix and "/" not in text:
        return f"The address {text} has no prefix length. Write it like {text}/{24 if address.version == 4 else 64}."
    if version is not None and address.version != version:
        return f"{text} is an IPv{address.version} address, but must be an IPv{version} one."
    return None


@SUBJECT.rule("systemConfig.network")
def network_is_consistent(template: Mapping) -> t.Iterator[Finding]:
    """Addresses are addresses; gateways can be reached; each interface is described once."""
    base: Path = ("systemConfig", "network", "interfaces")
    interfaces = [
        ((*base, index), item) for index, item in enumerate(template["systemConfig"]["network"]["interfaces"])
    ]
    for path, value in doubles((path, item.get("name") or item.get("match")) for path, item in interfaces):
        yield path, f"The interface {value} is described twice. Put everything about it into one entry."
    for path, item in interfaces:
        yield from _interface_addresses(path, item)
        for version in (4, 6):
            key = f"gateway{version}"
            if key not in item:
                continue
            problem = _ip_problem(item[key], version=version)
            if problem:
                yield (*path, key), problem
            elif not any(_version(address) == version for address in item["addresses"]):
                yield (
                    (*path, key),
                    f"{key} needs an IPv{version} address on this interface. Add one to addresses, or remove {key}: "
                    "DHCP and router advertisements bring their own gateway.",
                )


def _version(address: str) -> int | None:
    try:
        return ipaddress.ip_interface(address).version
    except ValueError:
        return None


def _interface_addresses(path: Path, item: Mapping) -> t.Iterator[Finding]:
    for index, text in enumerate(item["addresses"]):
        problem = _ip_problem(text, prefix=True)
        if problem:
            yield (*path, "addresses", index), problem
    for index, text in enumerate(item["nameservers"]):
        problem = _ip_problem(text)
        if problem:
            yield (*path, "nameservers", index), problem
    for index, route in enumerate(item["routes"]):
        place = (*path, "routes", index)
        problem = _ip_problem(route["via"])
        if problem:
            yield (*place, "via"), problem
        if route["to"] == "default":
            continue
        try:
            network = ipaddress.ip_network(route["to"])
        except ValueError:
            yield (*place, "to"), f"{route['to']!r} is no network. Write it like 10.0.0.0/8, or default."
            continue
        if not problem and network.version != ipaddress.ip_address(route["via"]).version:
            yield (*place, "via"), f"The gateway of {route['to']} must be an IPv{network.version} address."


__all__ = ("SUBJECT",)
