//! Whose code is in a source file, by its path alone: where Cargo and distributions keep sources. The path is
//! the one that the compiler recorded. The file need not exist here.

use super::Owner;

/// The folders in which Cargo keeps dependencies. A folder follows whose name ends with a hash.
const DEPENDENCIES: [[&str; 2]; 2] = [["registry", "src"], ["git", "checkouts"]];

/// Returns whose code it is. `Unknown` for what a build script has generated. `program` is the crate that the
/// program is named after.
pub(super) fn owner(path: &str, program: &str) -> Owner {
    // The sources of other languages may be anywhere.
    if !path.ends_with(".rs") {
        return Owner::Others;
    }
    let folders: Vec<_> = path.split('/').collect();
    if is_std(path, &folders) || is_dependency(&folders) || is_package(&folders, program) {
        Owner::Others
    } else if is_generated(&folders) {
        Owner::Unknown
    } else {
        Owner::User
    }
}

/// Whether it is in the standard library or in one of its dependencies: as rustc records it, as in rustup's
/// toolchains, or as distributions build it.
fn is_std(path: &str, folders: &[&str]) -> bool {
    let is_source = |pair: &[&str]| pair[0].starts_with("rustc-") && pair[1] == "library";
    path.starts_with("/rustc/")
        || path.starts_with("/rust/deps/")
        || path.contains("/rustlib/src/rust/library/")
        || folders.windows(2).any(is_source)
}

/// Whether it is where Cargo unpacks packages and checks repositories out, or in `vendor/<crate>/src`, as
/// `cargo vendor` puts it. Cargo's folder may have another name.
fn is_dependency(folders: &[&str]) -> bool {
    let is_cargos =
        |three: &[&str]| has_hash(three[2]) && DEPENDENCIES.iter().any(|it| three.starts_with(it));
    let is_vendored = |three: &[&str]| three[0] == "vendor" && three[2] == "src";
    let is_index = |folder: &&str| folder.starts_with("index.crates.io-") && has_hash(folder);
    let mut threes = folders.windows(3);
    threes.any(|three| is_cargos(three) || is_vendored(three)) || folders.iter().any(is_index)
}

/// Whether it is in `<crate>-<version>/src`, as packages are unpacked, wherever that is. A program may be built
/// from such a folder as well.
fn is_package(folders: &[&str], program: &str) -> bool {
    let mut pairs = folders.windows(2).filter(|pair| pair[1] == "src");
    pairs.any(|pair| package(pair[0]).is_some_and(|name| name.replace('-', "_") != program))
}

/// Returns the name of a folder without its version.
fn package(folder: &str) -> Option<&str> {
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|it| it.is_ascii_digit());
    let is_version = |rest: &str| {
        let mut parts = rest.splitn(3, '.');
        let mut numbers = parts.by_ref().take(2);
        numbers.all(is_number)
            && parts
                .next()
                .is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut hyphens = folder.match_indices('-');
    let (at, _) = hyphens.find(|(at, _)| is_version(&folder[at + 1..]))?;
    Some(&folder[..at])
}

/// Whether it is in a build script's folder for output: `build/<package>-<hash>/out`, or
/// `build/<package>/<hash>/out`.
fn is_generated(folders: &[&str]) -> bool {
    let hashed = |three: &[&str]| three[0] == "build" && has_hash(three[1]) && three[2] == "out";
    let nested = |four: &[&str]| four[0] == "build" && is_hash(four[2]) && four[3] == "out";
    folders.windows(3).any(hashed) || folders.windows(4).any(nested)
}

/// Whether a name ends with one of Cargo's hashes.
pub(super) fn has_hash(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, hash)| is_hash(hash))
}

fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.chars().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_are(owner: Owner, paths: &[&str]) {
        for path in paths {
            assert_eq!(super::owner(path, "app"), owner, "{path}");
        }
    }

    #[test]
    fn the_workspace_is_the_users() {
        assert_are(
            Owner::User,
            &[
                "/home/u/app/src/main.rs",
                "/home/u/app/crates/orders/src/lib.rs",
                "/home/u/app/tests/it/main.rs",
                // A path dependency.
                "/home/u/orders/src/lib.rs",
                // As `--remap-path-prefix` leaves it.
                "src/main.rs",
                "./src/main.rs",
                "/app/src/main.rs",
                // Names that Cargo's folders have as well.
                "./registry/src/lib.rs",
                "/home/u/app/registry/src/my-store/lib.rs",
                "/home/u/git/checkouts/app/src/main.rs",
                "/home/u/app/src/vendor/api.rs",
                "/home/u/rust/library/src/main.rs",
                "/home/u/app/library/core/src/lib.rs",
                "/home/u/build/orders-service/out/src/main.rs",
                // As distributions build it.
                "/build/app-1.2.3/src/main.rs",
                "/build/shop-1.2.3/crates/orders/src/lib.rs",
                "/home/u/app-2/src/main.rs",
                "/home/u/app-2.0/src/main.rs",
            ],
        );
    }

    #[test]
    fn what_cargo_has_fetched_is_not() {
        assert_are(
            Owner::Others,
            &[
                "/home/u/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/tokio-1.54.1/src/lib.rs",
                "/home/u/.cargo/registry/src/github.com-1ecc6299db9ec823/tokio-1.54.1/src/lib.rs",
                "/home/u/.cargo/git/checkouts/store-0123456789abcdef/1a2b3c4/crates/a/src/lib.rs",
                // Another `CARGO_HOME`.
                "/opt/cargo/registry/src/registry.example-0123456789abcdef/ring-0.17.8/src/lib.rs",
                // As `--remap-path-prefix` leaves it.
                "registry/src/index.crates.io-1949cf8c6b5b557f/tokio-1.54.1/src/lib.rs",
                "/deps/index.crates.io-1949cf8c6b5b557f/ripgrep-14.1.0/crates/core/main.rs",
                "/deps/rayon-core-1.13.0/src/latch.rs",
                "tokio-1.54.1/src/lib.rs",
                "openssl-src-300.5.0+3.5.0/src/lib.rs",
                "zstd-safe-7.2.4-rc.1/src/lib.rs",
            ],
        );
    }

    #[test]
    fn what_is_vendored_is_not() {
        assert_are(
            Owner::Others,
            &[
                "/home/u/app/vendor/serde/src/lib.rs",
                "/home/u/app/vendor/serde-1.0.0/src/lib.rs",
                "vendor/serde/src/lib.rs",
                "/nix/store/0c1y-vendor-cargo-deps/0f2d/tokio-1.54.1/src/lib.rs",
            ],
        );
    }

    #[test]
    fn the_standard_library_is_not() {
        assert_are(
            Owner::Others,
            &[
                "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/pin.rs",
                "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/std/src/thread/mod.rs",
                "/rust/deps/hashbrown-0.15.2/src/raw.rs",
                "/root/.rustup/toolchains/x/lib/rustlib/src/rust/library/std/src/lib.rs",
                "/usr/src/rustc-1.85.0/library/std/src/thread/mod.rs",
            ],
        );
    }

    #[test]
    fn other_languages_are_not() {
        assert_are(
            Owner::Others,
            &[
                "/build/glibc/nptl/futex.c",
                "/home/u/app/src/shim.c",
                "sqlite3/sqlite3.c",
                "",
                "/",
            ],
        );
    }

    #[test]
    fn what_is_generated_is_unknown() {
        assert_are(
            Owner::Unknown,
            &[
                "/home/u/app/target/debug/build/app-0123456789abcdef/out/api.rs",
                "/home/u/app/target/debug/build/app/0123456789abcdef/out/api.rs",
            ],
        );
    }
}
