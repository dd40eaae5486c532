#!/usr/bin/env bash
# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Runs ansible-test. It works only in a directory named .../ansible_collections/os_image/composer, so the files that
# belong to the collection are copied to one.
#
#   tests/ansible_test.sh sanity [arguments]
#   tests/ansible_test.sh integration [targets]

set -euo pipefail

cd "$(dirname "$0")/.."
root=$PWD
copy=$root/.cache/ansible_test/ansible_collections/os_image/composer
python=$("$root/.venv/controller/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
export PATH="$root/.venv/controller/bin:$PATH"
# The copy must not see the configuration of the checkout.
unset ANSIBLE_CONFIG
export PIP_QUIET=2

copy_files() {
    rm -rf "$copy"
    mkdir -p "$copy"
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files -z --cached --others --exclude-standard
    else
        find . -type f -not -path './.*/*' -not -path './build/*' -not -path './collections/*' -not -path './tests/output/*' -print0
    fi | while IFS= read -r -d '' file; do
        # A file may be deleted and not committed yet.
        if [ -e "$file" ] || [ -L "$file" ]; then printf '%s\0' "$file"; fi
    done | tar --null --files-from=- --create | tar --extract --directory "$copy"
    # Otherwise the checkout around it tells ansible-test to ignore all of it.
    git init --quiet "$copy" 2>/dev/null || true
}

# ansible-test gets pip into its virtual environments by a script that it downloads from the Ansible project. Python
# brings the same pip along; a script in its cache is taken as it is.
provide_pip() {
    local script
    script=$("$root/.venv/controller/bin/python" - <<'END'
import pathlib
import re

import ansible_test

source = pathlib.Path(ansible_test.__path__[0], "_internal", "python_requirements.py").read_text(encoding="utf-8")
version = re.search(r"\bpip='([0-9.]+)'", source)[1]
print(pathlib.Path("~/.ansible/test/cache").expanduser() / f"get_pip_{version.replace('.', '_')}.py")
END
)
    if [ ! -e "$script" ]; then
        mkdir -p "$(dirname "$script")"
        printf '%s\n' 'import subprocess' 'import sys' \
            'sys.exit(subprocess.call([sys.executable, "-m", "ensurepip"]))' >"$script"
    fi
}

command=$1
shift
copy_files
provide_pip
cd "$copy"
case $command in
    sanity) exec ansible-test sanity --python "$python" --color no "$@" ;;
    integration)
        # What a target built is found again by the next, and by the next run.
        # Modules run under the distribution's own Python, which has the libraries.
        printf '%s: %s\n' integration_dir "$root/.cache/integration" ansible_python_interpreter /usr/bin/python3 \
            >tests/integration/integration_config.yml
        exec ansible-test integration --python "$python" --color no --allow-destructive "$@"
        ;;
    *)
        echo "usage: $0 sanity|integration [arguments]" >&2
        exit 2
        ;;
esac
