#!/bin/sh
# Builds the on-chain programs with Debian's compilers and nothing else.
#
#   program/build.sh            build, and write cvms/programs/<program>.so (a test's: tests/program/elf/)
#                               and their hashes in docs/programs.md
#   program/build.sh --check    build, and compare with the committed file
#   program/build.sh --install  first install the compilers that toolchain.txt lists (root)
#   program/build.sh yield_pool build this program only
#   program/build.sh --lax …    with warnings, as mutants of the sources have them, and in less time
#
# The same packages give the same bytes, wherever the checkout is and whoever builds.
set -eu

compilers="rustc-web rust-web-src llvm-22 binutils-bpf"
programs="collateral_vault position_manager yield_pool"
test_programs="puppet"

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=$here/target
root=$here/..
pins=$here/toolchain.txt
document=$root/docs/programs.md
rustc=/usr/bin/rustc # Debian's: a rustup rustc may come first on PATH
core=/usr/lib/rustlib/src/rust/library/core/src/lib.rs

fail() {
    echo "program/build.sh: $*" >&2
    exit 1
}

check=no install=no warnings=-D once= only=
for argument; do
    case $argument in
        --check) check=yes ;;
        --install) install=yes ;;
        --lax) warnings=-A once='-C no-prepopulate-passes' ;;
        collateral_vault | position_manager | yield_pool | puppet) only="$only $argument" ;;
        *) fail "unknown argument '$argument' (--check, --install, --lax, a program)" ;;
    esac
done

# Prints the pinned packages that are not installed in their version: name, pinned and installed version.
differing() {
    grep -v '^#' "$pins" | while read -r name version _; do
        installed=$(dpkg-query -W -f '${Version}' "$name" 2>/dev/null) || installed=none
        [ "$installed" = "$version" ] || echo "$name $version $installed"
    done
}

# Downloads these packages to $1 and checks their hashes. Exits with 3 if the archive has another version.
download_pinned() {
    differing | while read -r name version _; do
        (cd "$1" && apt-get download -qq "$name=$version" >&2) || exit 3
        hash=$(awk -v name="$name" '$1 == name { print $3 }' "$pins")
        echo "$hash  $(echo "$1/${name}"_*.deb)" | sha256sum --check --status ||
            fail "the archive's $name $version has another hash than toolchain.txt: nothing is installed"
    done
}

if [ $install = yes ]; then
    [ "$(id -u)" = 0 ] || fail "--install needs root"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    debs=$(mktemp -d)
    found=0
    download_pinned "$debs" || found=$?
    case $found in
        0) set -- "$debs"/*.deb ;;
        3) # shellcheck disable=SC2086
            set -- $compilers ;;
        *) exit "$found" ;;
    esac
    [ ! -e "$1" ] && [ $found = 0 ] ||
        apt-get install -y -qq --no-install-recommends --allow-downgrades "$@" >&2
    rm -rf "$debs"
fi

different=$(differing)
if [ -n "$different" ]; then
    echo "$different" | while read -r name version installed; do
        echo "program/build.sh: $name is $installed here, and $version in toolchain.txt" >&2
    done
    echo "program/build.sh: for the committed bytes, let apt read the snapshot that toolchain.txt names," \
        "and run program/build.sh --install" >&2
fi

for tool in $rustc llvm-link-22 opt-22 llc-22 llvm-ar-22 bpf-ld; do
    command -v "$tool" >/dev/null || fail "$tool is missing; try: program/build.sh --install"
done
[ -r $core ] || fail "$core is missing; try: program/build.sh --install"

export RUSTC_BOOTSTRAP=1 # the target is tier 3, its core is built here
export SOURCE_DATE_EPOCH=0 LC_ALL=C

compile() {
    $rustc --target bpfel-unknown-none -C opt-level=2 -C panic=abort -C codegen-units=1 \
        -C jump-tables=no -Z location-detail=none --remap-path-prefix "$here=program" "$@"
}

# core and compiler_builtins depend on the compiler alone: keep them.
mkdir -p "$target"
runtime=$target/runtime-$({ cat "$pins" "$here/build.sh" "$here/compiler_builtins/lib.rs"; echo "$different"; } |
    sha256sum | cut -c1-16)
if [ ! -d "$runtime" ]; then
    fresh=$(mktemp -d "$target/runtime.XXXXXX")
    compile --edition 2024 --crate-name core --crate-type rlib --cap-lints allow \
        -Z force-unstable-if-unmarked $core -o "$fresh/libcore.rlib"
    compile --edition 2024 --crate-name compiler_builtins --crate-type rlib \
        --extern core="$fresh/libcore.rlib" "$here/compiler_builtins/lib.rs" \
        -o "$fresh/libcompiler_builtins.rlib"
    mv -T "$fresh" "$runtime" 2>/dev/null || rm -rf "$fresh" # another build was first
fi

work=$(mktemp -d "$target/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

ours() {
    compile --edition 2024 $warnings warnings -C overflow-checks=on -L "$runtime" "$@"
}

objects() {
    mkdir "$work/$2"
    (cd "$work/$2" && llvm-ar-22 x "$1")
    rm -f "$work/$2"/*.rmeta
}

ours --crate-name sdk --crate-type rlib "$here/sdk/src/lib.rs" -o "$work/libsdk.rlib"
objects "$runtime/libcore.rlib" core
objects "$runtime/libcompiler_builtins.rlib" compiler_builtins
objects "$work/libsdk.rlib" sdk

build() {
    ours $once --crate-name "$1" --crate-type lib --emit=llvm-bc --extern sdk="$work/libsdk.rlib" \
        "$here/$1/src/lib.rs" -o "$work/$1.bc"
    llvm-link-22 "$work/$1.bc" "$work"/sdk/* "$work"/compiler_builtins/* "$work"/core/* \
        -o "$work/$1.all.bc"
    # The mem* functions stay, since only code generation calls them.
    opt-22 -passes='internalize,default<O2>,globaldce' \
        -internalize-public-api-list=entrypoint,memcpy,memmove,memset,memcmp \
        "$work/$1.all.bc" -o "$work/$1.opt.bc"
    llc-22 -march=bpfel -mcpu=v3 -mattr=+allows-misaligned-mem-access -bpf-stack-size=4096 \
        -filetype=obj "$work/$1.opt.bc" -o "$work/$1.o"
    # bpf-ld knows the relocations of code, not those of data: pointers in constants would be wrong.
    if llvm-readobj-22 -r "$work/$1.o" | grep -v '\.rel\.text' | grep -q ABS64; then
        fail "$1 has a constant that holds a pointer, which bpf-ld does not relocate"
    fi
    bpf-ld -n -s -T "$here/sbpf.ld" "$work/$1.o" -o "$work/$1.so"
    # e_flags says which version of SBPF this is: 3.
    printf '\003\000\000\000' | dd of="$work/$1.so" bs=1 seek=48 conv=notrunc status=none
}

place() {
    case ${only:-" $1"} in *" $1"*) ;; *) return ;; esac
    build "$1"
    if [ $check = no ]; then
        install -m 644 -D "$work/$1.so" "$root/$2/$1.so"
        hash=$(perl -0777 -pe 's/\0+\z//' "$work/$1.so" | sha256sum | cut -c1-64)
        [ ! -e "$document" ] || sed -i "s/^| \`$1\` | \`[0-9a-f]\{64\}\` |$/| \`$1\` | \`$hash\` |/" "$document"
        echo "$2/$1.so: $(wc -c <"$root/$2/$1.so") bytes"
    elif cmp -s "$work/$1.so" "$root/$2/$1.so"; then
        echo "$2/$1.so: the same bytes as this build"
    else
        cmp "$work/$1.so" "$root/$2/$1.so" >&2 || true
        [ -z "$different" ] || fail "$2/$1.so is not what these compilers, which are others, build"
        fail "$2/$1.so is not what the sources build: run program/build.sh, commit it"
    fi
}

for program in $programs; do
    place "$program" cvms/programs
done
for program in $test_programs; do
    place "$program" tests/program/elf # beside puppet.py, Python would import it
done
