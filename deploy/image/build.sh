#!/bin/sh
# Builds the root file system of the image without a container engine, by the steps of Containerfile:
# Debian's packages from apt's sources, the pinned and hashed packages of requirements.txt, the user.
#
#   deploy/image/build.sh FOLDER       root runs it, on Debian 12 with mmdebstrap and Python 3.11
#
# FOLDER is created. `tar -C FOLDER -c . | podman import - cvms` makes an image of it.
set -eu
root=$(realpath -m "${1:?expected the folder to create}")
[ ! -e "$root" ] || { echo "build.sh: $root exists" >&2; exit 2; }
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3.11}
sources=/etc/apt/sources.list.d/debian.sources
[ -e "$sources" ] || sources=/etc/apt/sources.list
user=$(sed -n 's/^RUN useradd .*--uid \([0-9]*\) .*/\1/p' Containerfile)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mmdebstrap --quiet --variant=minbase --include=python3,ca-certificates \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="chroot \"\$1\" useradd --system --uid $user --no-create-home \
        --shell /usr/sbin/nologin cvms" \
    --customize-hook='chroot "$1" python3 -m venv --without-pip /opt/cvms' \
    bookworm "$root" "$sources"

# Installed from outside, so that no tool for it is in the image; uv chooses the packages for the
# image's Python, which pip cannot do for another than its own.
version=$(chroot "$root" python3 -c 'import platform; print(platform.python_version())')
"$python" -m venv "$work/uv"
"$work/uv/bin/pip" install --quiet --disable-pip-version-check "$(grep -o 'uv==[0-9.]*' Makefile)"
install() {
    "$work/uv/bin/uv" pip install --quiet --no-cache --link-mode copy --prefix "$root/opt/cvms" \
        --python "$work/uv/bin/python" --python-version "$version" "$@"
}
install --require-hashes -r requirements.txt
mkdir "$work/source"
cp -r pyproject.toml README.md LICENSE cvms "$work/source"
install --no-deps "$work/source"
sed -i '1s|^#!.*|#!/opt/cvms/bin/python3|' "$root/opt/cvms/bin/cvms"
chroot "$root" /opt/cvms/bin/python3 -m compileall -q /opt/cvms/lib
