#!/bin/sh
# Lints the on-chain programs with Debian's clippy, which is of the release that builds them.
#
#   program/clippy.sh            lint; a warning is an error
#   program/clippy.sh --install  install cargo and clippy first (root)
#
# Nothing that ships comes from here, see build.sh.
set -eu

packages="cargo-web rust-web-clippy"

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# Debian's: a rustup cargo or rustc may come first on PATH
export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc
clippy=/usr/bin/cargo-clippy

fail() {
    echo "program/clippy.sh: $*" >&2
    exit 1
}

install=no
for argument; do
    case $argument in
        --install) install=yes ;;
        *) fail "unknown argument '$argument' (--install)" ;;
    esac
done

if [ $install = yes ]; then
    [ "$(id -u)" = 0 ] || fail "--install needs root: apt-get install $packages"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $packages >&2
fi

for tool in $CARGO $RUSTC $clippy; do
    command -v "$tool" >/dev/null || fail "$tool is missing; try: program/clippy.sh --install"
done

cd "$here"
exec $clippy clippy --workspace --locked --offline -- -D warnings
