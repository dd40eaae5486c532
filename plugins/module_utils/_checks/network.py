# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Network interfaces: addresses, gateways, routes."""

from __future__ import annotations

import fnmatch
import ipaddress
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject, doubles

SUBJECT = Subject("Network")


def _interfaces(template: LocatedMapping) -> t.List[t.Tuple[Path, LocatedMapping]]:
    base: Path = ("systemConfig", "network", "interfaces")
    return [((*base, index), item) for index, item in enumerate(template["systemConfig"]["network"]["interfaces"])]


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


def _addresses(item: LocatedMapping) -> t.Iterator[t.Tuple[int, t.Any]]:
    """Yield the static addresses of an interface with their numbers; what is none is left out."""
    for index, text in enumerate(item["addresses"]):
        if _ip_problem(text, prefix=True) is None:
            yield index, ipaddress.ip_interface(text)


def _has_address(item: LocatedMapping, version: int) -> bool:
    return any(address.version == version for _index, address in _addresses(item))


@SUBJECT.rule(
    "systemConfig.network",
    example="""
    systemConfig:
      network:
        interfaces:
          - {name: eth0, addresses: [192.0.2.10]}
          - {name: eth1, gateway4: 198.51.100.1}
    """,
)
def network_is_consistent(template: LocatedMapping) -> t.Iterator[Finding]:
    """Addresses are addresses; gateways belong to one; each interface is described once."""
    interfaces = _interfaces(template)
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
            elif not _has_address(item, version):
                yield (
                    (*path, key),
                    f"{key} needs an IPv{version} address on this interface. Add one to addresses, or remove {key}: "
                    "DHCP and router advertisements bring their own gateway.",
                )


def _interface_addresses(path: Path, item: LocatedMapping) -> t.Iterator[Finding]:
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


@SUBJECT.rule(
    "systemConfig.network",
    example="""
    systemConfig:
      network:
        interfaces:
          - {name: eth0, addresses: [192.0.2.0/24]}
          - {name: eth1, addresses: [198.51.100.7/24, 198.51.100.7/24]}
    """,
)
def addresses_are_those_of_hosts(template: LocatedMapping) -> t.Iterator[Finding]:
    """An address is neither that of its network nor that of all its hosts, and given once."""
    found = [
        ((*path, "addresses", index), value)
        for path, item in _interfaces(template)
        for index, value in _addresses(item)
    ]
    for path, value in doubles((path, value.ip) for path, value in found):
        yield path, f"The address {value} is given twice. Remove one."
    for path, value in found:
        if value.version != 4 or value.network.prefixlen > 30:
            continue
        if value.ip == value.network.network_address:
            yield path, f"{value} is the network itself, not a host in it. Give the host's own address."
        elif value.ip == value.network.broadcast_address:
            yield path, f"{value} is the broadcast address of its network. Give the host's own address."


@SUBJECT.rule(
    "systemConfig.network",
    example="""
    systemConfig:
      network:
        interfaces:
          - name: eth0
            addresses: [192.0.2.10/24]
            gateway4: 192.0.3.1
            routes:
              - {to: 10.0.0.0/8, via: 192.0.2.10}
    """,
)
def gateways_can_be_reached(template: LocatedMapping) -> t.Iterator[Finding]:
    """An IPv4 gateway lies in the network of its interface, and is another host."""
    for path, item in _interfaces(template):
        gateways = [((*path, "gateway4"), item["gateway4"])] if "gateway4" in item else []
        gateways += [((*path, "routes", index, "via"), route["via"]) for index, route in enumerate(item["routes"])]
        own = [address for _index, address in _addresses(item) if address.version == 4]
        for place, text in gateways if own else ():
            if _ip_problem(text, version=4):
                continue
            gateway = ipaddress.ip_address(text)
            if any(gateway == address.ip for address in own):
                yield place, f"The gateway {text} is this interface itself. Give the address of the router."
            # What DHCP brings is not known.
            elif not item["dhcp4"] and not any(gateway in address.network for address in own):
                yield (
                    place,
                    f"The gateway {text} lies in no network of this interface "
                    f"({', '.join(str(address.network) for address in own)}), so it cannot be reached. Correct it, or "
                    "the prefix length of the address.",
                )


def _matches(item: LocatedMapping, name: str) -> bool:
    """Tell whether an entry is for an interface of this name, as C(Name=) in systemd.network(5) says."""
    if "name" in item:
        return bool(item["name"] == name)
    globs = item["match"].split()
    negated = bool(globs) and globs[0].startswith("!")
    found = any(fnmatch.fnmatchcase(name, glob.lstrip("!")) for glob in globs)
    return found != negated


@SUBJECT.rule(
    "systemConfig.network",
    example="""
    systemConfig:
      network:
        interfaces:
          - {match: "e*", dhcp4: true}
          - {name: eth1, addresses: [192.0.2.10/24]}
    """,
)
def entries_are_not_hidden(template: LocatedMapping) -> t.Iterator[Finding]:
    """An entry for one interface stands before one whose pattern matches it: the first that fits is taken."""
    patterns: t.List[LocatedMapping] = []
    for path, item in _interfaces(template):
        if "match" in item:
            patterns.append(item)
            continue
        before = next((pattern for pattern in patterns if _matches(pattern, item["name"])), None)
        if before is not None:
            yield (
                path,
                f"The entry for {before['match']} stands before this one and matches {item['name']} too, so this "
                "one is never used. Put it first.",
            )


@SUBJECT.advice(
    "systemConfig.network",
    example="""
    systemConfig:
      network:
        interfaces:
          - {match: "*", dhcp4: true}
    """,
)
def patterns_leave_the_loopback_alone(template: LocatedMapping) -> t.Iterator[Finding]:
    """A pattern does not match the loopback interface."""
    for path, item in _interfaces(template):
        if "match" in item and _matches(item, "lo"):
            yield (
                (*path, "match"),
                f"{item['match']} matches the loopback interface, and those of containers, too. Use en*, for example.",
            )


@SUBJECT.advice(
    "systemConfig.network",
    example="""
    systemConfig:
      network:
        interfaces:
          - {name: eth0}
          - {name: eth1, dhcp4: true, addresses: [192.0.2.10/24]}
    """,
)
def addresses_come_from_one_place(template: LocatedMapping) -> t.Iterator[Finding]:
    """An interface has static addresses, or asks for some."""
    for path, item in _interfaces(template):
        if not (item["dhcp4"] or item["dhcp6"] or item["addresses"]):
            yield path, "This interface gets no address. Add addresses, or dhcp4: true."
        for version in (4, 6):
            if item[f"dhcp{version}"] and _has_address(item, version):
                yield (
                    (*path, f"dhcp{version}"),
                    f"This interface has an IPv{version} address, and asks DHCP for a second one. Remove "
                    f"dhcp{version}, or the address.",
                )


@SUBJECT.advice(
    "systemConfig.network",
    example="""
    systemConfig:
      network:
        interfaces:
          - {name: eth0, addresses: [192.0.2.10/24], gateway4: 192.0.2.1}
          - {name: eth1, addresses: [198.51.100.10/24], gateway4: 198.51.100.1}
    """,
)
def default_gateway_is_one(template: LocatedMapping) -> t.Iterator[Finding]:
    """One interface has the default gateway."""
    for key in ("gateway4", "gateway6"):
        places = [path for path, item in _interfaces(template) if key in item]
        for path in places[1:]:
            yield (
                (*path, key),
                f"Two interfaces have a {key}; which of them leads to the Internet is left to chance. Keep one, and "
                "use routes.",
            )


__all__ = ("SUBJECT",)
