#!/bin/sh
# Builds what is released: a tar archive with the program, completions, manual pages, the licence and packaging, and its checksums.
#
# usage: packaging/release.sh [OUTPUT_DIR]     (release/ without one)
#
# The build takes some twenty minutes on one core and 11 GB of memory; PROFILE=release takes less of both and makes a slower program.
# With TARGET, as in TARGET=x86_64-unknown-linux-musl, the program is for that target, which rustup and a C compiler for it must know.
set -eu
cd "$(dirname "$0")/.."

output=${1:-release}
profile=${PROFILE:-dist}
target=${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
name=spanhouse-$version-$target
built=${CARGO_TARGET_DIR:-target}/$target/$profile

# The C library stays dynamic (glibc 2.36 and later with Debian 12's); everything else is in the program.
cargo build --locked --profile "$profile" --target "$target" --bin spanhouse

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
folder=$staging/$name
mkdir -p "$folder/completions" "$folder/man" "$output"
cp "$built/spanhouse" "$folder/"
strip "$folder/spanhouse" 2>/dev/null || echo "the program keeps its symbols: there is no strip for $target" >&2
cp LICENSE README.md CHANGELOG.md "$folder/"
cp packaging/spanhouse.service packaging/kubernetes.yaml packaging/compose.yaml packaging/collector.yaml "$folder/"
# What is for another machine cannot be asked here.
if "$built/spanhouse" --version >/dev/null 2>&1; then
    for shell in bash zsh fish powershell elvish; do
        "$built/spanhouse" completions "$shell" > "$folder/completions/spanhouse.$shell"
    done
    "$built/spanhouse" man "$folder/man"
else
    rmdir "$folder/completions" "$folder/man"
    echo "without completions and manual pages: a program for $target does not run here" >&2
fi

# The same files give the same archive.
when=@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="$when" -C "$staging" -cf - "$name" | gzip -n > "$output/$name.tar.gz"
(cd "$output" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256" && sha256sum -c "$name.tar.gz.sha256")
