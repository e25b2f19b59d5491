#!/bin/sh
# Makes the virtual environment that the Makefile works in:   envs/setup.sh .venv [test]
# `test` adds the tests' tools, and looks for a browser, an S3 server and a Slurm. Safe to run again: what is there already is kept.
set -eu
venv=$1
what=${2:-workflow}
envs=$(dirname "$0")

say() { printf '[set-up] %s\n' "$*"; }
fail() { printf '[set-up] %s\n' "$*" >&2; exit 1; }

# Runs apt-get if we may (as root, or by a sudo that asks for no password); false where we may not.
apt_install() {
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" = 0 ]; then as_root=env; elif sudo -n true 2>/dev/null; then as_root='sudo -n'; else return 1; fi
    say "apt-get install $*"
    $as_root apt-get update -qq >/dev/null &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The system's own python3 first: it is the one that Debian's and Ubuntu's python3-venv belongs to.
find_python() {
    for candidate in python3 python3.11 python3.12; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or 3.12 is needed, and neither python3 nor python3.11 nor python3.12 is one. Debian 12: apt-get" \
        "install python3; Ubuntu: apt-get install python3.12 python3.12-venv (or 3.11)."
}

make_venv() {
    python=$(find_python)
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "$package" || fail "$python has no venv module. Ask for the package: apt-get install $package"
    fi
    say "making $venv with $("$python" --version) ($python)"
    "$python" -m venv --clear "$venv"
}

# -qq: errors alone.
pip_install() { "$venv/bin/python" -m pip --disable-pip-version-check install -qq "$@"; }

# The default Linux wheels of torch carry 3 GB of CUDA. Where there is no NVIDIA GPU the CPU build will do: from a
# source that pip is configured to look at, or else from PyTorch's own index. A torch that is there already stays
# (somebody may have put v100.txt's there).
install_torch() {
    wanted=$(grep '^torch==' "$envs/lock.txt")
    if "$venv/bin/python" -m pip freeze 2>/dev/null | grep -q "^$wanted\(+\|\$\)"; then return; fi
    if command -v nvidia-smi >/dev/null; then
        say "an NVIDIA GPU is here: installing $wanted with CUDA, about 3 GB (for V100 see envs/README.md)"
    elif ! pip_install --no-deps "$wanted+cpu" 2>/dev/null; then
        pip_install --no-deps --extra-index-url https://download.pytorch.org/whl/cpu "$wanted"
    fi
}

# GDAL's command-line tools make the maps. Everything else runs without them, so their absence is told and no more.
install_gdal() {
    if has_gdal; then return; fi
    if apt_install gdal-bin && has_gdal; then say "GDAL's tools: $(gdal_translate --version)"; return; fi
    [ -z "${CI:-}" ] || fail "gdalbuildvrt and gdal_translate could not be installed, and in CI no map may be left out"
    say "NO GDAL TOOLS (gdalbuildvrt, gdal_translate): maps will be left out until somebody runs: apt-get install gdal-bin"
}
has_gdal() { command -v gdalbuildvrt >/dev/null && command -v gdal_translate >/dev/null; }

install_workflow() {
    if ! [ -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then make_venv; fi
    say "installing the pinned packages of envs/lock.txt (about 500 MB to download the first time; some minutes)"
    pip_install -r "$envs/pip.txt"
    install_torch
    pip_install -r "$envs/lock.txt"
    pip_install --no-deps -r "$envs/solaris.txt"
    if [ -f "$envs/../pyproject.toml" ]; then # (a container has the environment alone)
        pip_install --no-deps --no-build-isolation -e "$envs/.."
    fi
    install_gdal
}

# Any Chromium on the PATH; else Debian's; else playwright's own (Ubuntu has Chromium as a snap alone). The tests look
# in the same order.
install_browser() {
    # playwright's driver is a Node.js that wants libatomic, which a small Debian lacks.
    driver_starts || apt_install libatomic1 || true
    if ! driver_starts; then
        no_browser "playwright's driver does not start: $(playwright --version 2>&1 | head -n 1)"
        return
    fi
    for browser in chromium chromium-browser google-chrome google-chrome-stable; do
        if "$browser" --version >/dev/null 2>&1; then say "browser: $browser"; return; fi
    done
    if apt_install chromium && chromium --version >/dev/null 2>&1; then say "browser: chromium"; return; fi
    say "no Chromium on the PATH or from apt-get: trying playwright's own"
    if [ "$(id -u)" = 0 ]; then libraries=--with-deps; else libraries=; fi
    # shellcheck disable=SC2086 # no option where there is none
    if playwright install $libraries chromium >/dev/null 2>&1 && starts_browser; then say "browser: playwright's"; return; fi
    playwright uninstall >/dev/null 2>&1 || true # one that does not start would fail tests rather than skip them
    no_browser "none on the PATH, from apt-get or from playwright (apt-get install chromium)"
}
no_browser() {
    [ -z "${CI:-}" ] || fail "no browser could be set up, and in CI no test may be skipped for want of one: $1"
    say "NO BROWSER could be set up: the tests that open the report in one will be skipped: $1"
}
playwright() { "$venv/bin/python" -m playwright "$@"; }
driver_starts() { playwright --version >/dev/null 2>&1; }
starts_browser() {
    "$venv/bin/python" -c 'from playwright.sync_api import sync_playwright as p; p().start().chromium.launch().close()' 2>/dev/null
}

# Fetching is tested against Ceph's gateway, run by the tests on loopback: about 270 MB of Debian or Ubuntu packages.
install_s3_server() {
    if has_s3_server; then say "S3 server: radosgw"; return; fi
    if apt_install radosgw ceph-mon ceph-osd ceph-base ceph-common openssl && has_s3_server; then
        say "S3 server: radosgw"
        return
    fi
    packages="apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-base ceph-common openssl"
    [ -z "${CI:-}" ] || fail "no S3 server could be set up, and in CI no test may be skipped for want of one: $packages"
    say "NO S3 SERVER could be set up: the tests that fetch from one will be skipped ($packages)"
}
has_s3_server() {
    for program in radosgw radosgw-admin ceph-mon ceph-osd ceph monmaptool openssl setpriv; do # as tests/s3/server.py
        command -v "$program" >/dev/null || return 1
    done
}

# The cluster's part is tested on a real Slurm, run by the tests on loopback: about 250 MB of Debian or Ubuntu packages.
# Its daemons need root, so nobody else is bothered with them.
install_slurm() {
    if has_slurm; then say "Slurm: $(slurmctld -V)"; return; fi
    packages="slurmctld slurmd slurm-client slurmdbd slurm-wlm-basic-plugins slurm-wlm-mysql-plugin munge mariadb-server"
    # shellcheck disable=SC2086 # several words
    if [ "$(id -u)" = 0 ] && apt_install_unstarted $packages && has_slurm; then say "Slurm: $(slurmctld -V)"; return; fi
    [ -z "${CI:-}" ] || fail "no Slurm could be set up, and in CI no test may be skipped for want of one: apt-get install $packages"
    say "NO SLURM could be set up: the tests that need one will be skipped (as root: apt-get install $packages)"
}
has_slurm() {
    for program in munged mariadbd mariadb mariadb-install-db slurmdbd slurmctld slurmd sbatch srun squeue sacct \
        sacctmgr scontrol scancel setpriv; do # as tests/slurm/cluster.py
        command -v "$program" >/dev/null || return 1
    done
    [ -e "/usr/lib/$(uname -m)-linux-gnu/slurm-wlm/accounting_storage_mysql.so" ]
}
# Without a policy the packages would start daemons of their own, for the whole machine.
apt_install_unstarted() {
    if [ -e /usr/sbin/policy-rc.d ]; then apt_install "$@"; return; fi
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d || return 1
    status=0
    apt_install "$@" || status=$?
    rm -f /usr/sbin/policy-rc.d
    return $status
}

case $what in
workflow) install_workflow ;;
test)
    say "installing the tests' tools of envs/lock-test.txt"
    pip_install -r "$envs/lock-test.txt"
    install_browser
    install_s3_server
    install_slurm
    ;;
*) fail "setup.sh: unknown part '$what'" ;;
esac
