#!/usr/bin/env bash
# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What wins: the role's defaults, the global configuration, the inventory, extra variables.

set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
output=$work/output
# Nobody's own configuration takes part.
export HOME=$work/home
unset OS_IMAGE_COMPOSER_CONFIG
mkdir -p "$HOME/.config/os-image-composer" "$work/beside"
cp precedence.yml "$work/beside"
template=$PWD/../setup_image_build/files/integration.yml
inventory=$(realpath "${INVENTORY:-../../inventory}")

play() {
    local playbook=$1
    shift
    ANSIBLE_NOCOLOR=1 ansible-playbook -i "$inventory" "$playbook" -e template="$template" \
        -e ansible_python_interpreter=/usr/bin/python3 "$@" >"$output" 2>&1
}

fail() {
    echo "FAILED: $1" >&2
    cat "$output" >&2
    exit 1
}

expect() {
    local what=$1
    shift
    echo "$what"
    play "$@" || fail "$what"
}

config() { printf 'workers: %s\nwork_dir: %s\nlogging: {level: debug, file: log}\n' "$1" "$work/$2"; }

# The defaults are not used for anything here, as they are directories of the system.
expect "The role's defaults" precedence.yml -e validate=false -e workers=8 -e level=info -e log= \
    -e work_dir=/var/lib/os-image-composer/work

config 2 home-work >"$HOME/.config/os-image-composer/config.yml"
expect "The user's file" precedence.yml -e workers=2 -e work_dir="$work/home-work" -e level=debug \
    -e log="$HOME/.config/os-image-composer/log"

config 3 beside-work >"$work/beside/os-image-composer.yml"
expect "A file beside the playbook" "$work/beside/precedence.yml" -e workers=3 -e work_dir="$work/beside-work" \
    -e level=debug -e log="$work/beside/log"

config 4 named-work >"$work/named.yml"
export OS_IMAGE_COMPOSER_CONFIG=$work/named.yml
expect "A file that the environment names" "$work/beside/precedence.yml" -e workers=4 -e work_dir="$work/named-work" \
    -e level=debug -e log="$work/log"

config 5 variable-work >"$work/variable.yml"
expect "A file that a variable names" precedence.yml -e os_image_composer_config="$work/variable.yml" -e workers=5 \
    -e work_dir="$work/variable-work" -e level=debug -e log="$work/log"

printf 'all: {vars: {image_build_workers: 6}}\n' >"$work/inventory.yml"
expect "The inventory" precedence.yml -i "$work/inventory.yml" -e workers=6 -e work_dir="$work/named-work" \
    -e level=debug -e log="$work/log"

expect "Extra variables" precedence.yml -i "$work/inventory.yml" -e image_build_workers=7 -e workers=7 \
    -e image_build_work_dir="$work/extra-work" -e work_dir="$work/extra-work" -e level=debug -e log="$work/log"

echo "Everything that is wrong is told"
printf 'worker: 3\nlogging: {level: warning}\n' >"$work/named.yml"
play precedence.yml -e workers=8 -e work_dir=/x -e level=info -e log= && fail "the play did not fail"
grep -qF "named.yml:1: worker: Unknown key 'worker'. Did you mean 'workers'?" "$output" || fail "the key is not told"
grep -qF "named.yml:2: logging.level: 'warning' is not known here. Did you mean 'warn'?" "$output" || fail "the level is not told"
