#!/usr/bin/env bash
# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugins' live progress, with a stage that does nothing but take its time.

set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build=$work/build
mkdir "$build"
output=$work/output

play() {
    local playbook=$1
    shift
    PYTHONUNBUFFERED=1 ANSIBLE_NOCOLOR=1 ansible-playbook -i "${INVENTORY:-../../inventory}" "$playbook" -e build_dir="$build" "$@" \
        >"$output" 2>&1
}

fail() {
    echo "FAILED: $1" >&2
    cat "$output" "$build/build.log" >&2
    exit 1
}

has() { grep -qF -- "$1" "$output" || fail "the output lacks: $1"; }
lacks() { if grep -qF -- "$1" "$output"; then fail "the output has: $1"; fi; }

# wait_for SECONDS COMMAND...
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || fail "waited in vain for: $*"
        sleep 0.1
    done
}
shows() { grep -qF -- "$1" "$output"; }
gone() { [ ! -e "$1" ]; }

echo "Milestones are shown while the stage runs"
play stage.yml -e seconds=300 -e gate="$work/gate" &
player=$!
wait_for 60 shows "[testhost] [Packages] Step 2 of $build"
[ -e "$build/working" ] || fail "the stage had ended when its milestones were shown"
lacks "changed: [testhost]"
touch "$work/gate"
wait "$player" || fail "the play failed"
rm "$work/gate"
has "changed: [testhost]"
[ "$(find "$build" -name '.lease*' | wc -l)" = 0 ] || fail "the lease was left behind"

echo "A silent stage gives signs of life"
: >"$output"
play stage.yml -e seconds=301 -e gate="$work/gate" -e silent=true &
player=$!
signs() { [ "$(grep -c "^\[testhost\] slow_stage is still working ([0-9]* s, last: \[Stage\] Starting: .*)\$" "$output")" -ge "$1" ]; }
wait_for 60 signs 2
touch "$work/gate"
wait "$player" || fail "the play failed"
rm "$work/gate"

echo "no_log shows nothing"
play stage.yml -e seconds=1.5 -e hidden=true || fail "the play failed"
lacks "Step 1"

echo "Failures are told as the module tells them"
play stage.yml -e ending=error && fail "the play did not fail"
has "The slow stage did not like it. Be kind."
play stage.yml -e ending=killed && fail "the play did not fail"
has "slow_stage ended without a result: its process was killed"
rm -f "$build/working"

echo "Loops, become, pipelining, async, check mode and time limits work"
play ways.yml || fail "the play failed"

for signal in INT KILL; do
    echo "A stage whose play got SIG$signal stops by itself, and cleans up"
    # What the play before has said must not be taken for this one's words.
    : >"$output"
    # Job control: background jobs of a script ignore SIGINT otherwise.
    set -m
    play stage.yml -e seconds=302 -e lease_timeout=3 &
    player=$!
    set +m
    wait_for 60 shows "Step 2"
    [ -e "$build/working" ] || fail "the stage does not run"
    kill -s "$signal" -- "-$player"
    wait "$player" && fail "the play did not fail"
    wait_for 30 gone "$build/working"
    play stage.yml -e seconds=0.3 || fail "the build directory cannot be used again"
done
