//! Whose code is in a source file, by its path alone: where Cargo and distributions keep sources. The path is
//! the one that the compiler recorded. The file need not exist here.

use super::owner::Owner;
use crate::stack::linux::resolve::debug::Compilation;

/// The folders in which Cargo keeps dependencies. A folder follows whose name ends with a hash.
const DEPENDENCIES: [[&str; 2]; 2] = [["registry", "src"], ["git", "checkouts"]];

/// Where the sources of a program are.
pub(super) struct Sources<'a> {
    /// The folders of workspaces, mostly one. None if they are not known.
    workspaces: Vec<&'a str>,
    /// The crate that the program is named after.
    program: String,
}

impl Sources<'_> {
    pub(super) fn new(compilations: &[Compilation], program: String) -> Sources<'_> {
        let workspaces = compilations.iter().filter(|it| is_of_workspace(it));
        Sources {
            workspaces: workspaces.map(|it| &*it.folder).collect(),
            program,
        }
    }

    /// Returns whose code is in a file. `Unknown` for what a build script has generated.
    pub(super) fn owner(&self, path: &str) -> Owner {
        let folders: Vec<_> = path.split('/').collect();
        // The sources of other languages may be anywhere.
        if !path.ends_with(".rs") || is_std(path, &folders) {
            return Owner::Others;
        }
        if is_generated(&folders) {
            return Owner::Unknown;
        }
        let mut workspaces = self.workspaces.iter();
        let folders = match workspaces.find_map(|folder| inside(path, folder)) {
            // The workspace itself may be anywhere.
            Some(inside) => inside.split('/').collect(),
            None if self.workspaces.is_empty() => self.inside_package(folders),
            None if path.starts_with('/') => return Owner::Others,
            None => folders,
        };
        match is_dependency(&folders) || is_package(&folders) {
            true => Owner::Others,
            false => Owner::User,
        }
    }

    /// Returns the folders inside the program's own package, if that was unpacked or checked out to be built,
    /// as by `cargo install`.
    fn inside_package<'a>(&self, folders: Vec<&'a str>) -> Vec<&'a str> {
        let is_own = |folder: &&str| {
            let name = without_version(folder).or_else(|| without_hash(folder));
            name.is_some_and(|name| name.replace('-', "_") == self.program)
        };
        let own = folders.iter().position(is_own);
        folders[own.map_or(0, |at| at + 1)..].to_vec()
    }
}

/// Whether the compilation was of a crate in the folder of a workspace, which then is the folder that the
/// compiler was run in. Cargo names the files of such crates relative to it, and those of others by their
/// whole paths.
fn is_of_workspace(compilation: &Compilation) -> bool {
    // The name of the unit follows.
    let file = compilation.file.split("/@/").next().unwrap_or_default();
    let path = format!("{}/{file}", compilation.folder);
    let folders: Vec<_> = path.split('/').collect();
    file.ends_with(".rs") && !file.starts_with('/') && !is_std(&path, &folders)
}

/// Returns a path relative to a folder. `None` if it is not in there, or if `--remap-path-prefix` has cut the
/// folder's own path.
fn inside<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let above = folder.strip_suffix('/').unwrap_or(folder);
    let inside = path.strip_prefix(above)?.strip_prefix('/')?;
    folder.starts_with('/').then_some(inside)
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

/// Whether it is in `<crate>-<version>/src`, as packages are unpacked, wherever that is.
fn is_package(folders: &[&str]) -> bool {
    let mut pairs = folders.windows(2);
    pairs.any(|pair| pair[1] == "src" && without_version(pair[0]).is_some())
}

/// `app` for `app-1.2.3`.
fn without_version(folder: &str) -> Option<&str> {
    let is_version = |text: &str| {
        let parts: Vec<_> = text.splitn(3, '.').collect();
        let begins_with_digit = |part: &&str| part.starts_with(|it: char| it.is_ascii_digit());
        parts.len() == 3 && parts.iter().all(begins_with_digit)
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

fn has_hash(name: &str) -> bool {
    without_hash(name).is_some()
}

/// `app` for `app-0123456789abcdef`: Cargo appends such hashes.
pub(super) fn without_hash(name: &str) -> Option<&str> {
    let (stem, hash) = name.rsplit_once('-')?;
    is_hash(hash).then_some(stem)
}

fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.chars().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The crate `app` in the folder of a workspace.
    fn built_in(folder: &str) -> [Compilation; 1] {
        [Compilation {
            folder: folder.to_owned(),
            file: "app/src/main.rs/@/app.0123456789abcdef-cgu.0".to_owned(),
        }]
    }

    #[track_caller]
    fn assert_are(owner: Owner, compilations: &[Compilation], paths: &[&str]) {
        let sources = Sources::new(compilations, "app".to_owned());
        for path in paths {
            assert_eq!(sources.owner(path), owner, "{path}");
        }
    }

    #[test]
    fn the_workspace_is_the_users() {
        let in_workspace = [
            "/home/u/app/src/main.rs",
            "/home/u/app/crates/orders/src/lib.rs",
            "/home/u/app/tests/it/main.rs",
            // As `--remap-path-prefix` leaves it.
            "src/main.rs",
            "./src/main.rs",
            // Names that Cargo's folders have as well.
            "./registry/src/lib.rs",
            "/home/u/app/registry/src/my-store/lib.rs",
            "/home/u/app/git/checkouts/app/src/main.rs",
            "/home/u/app/src/vendor/api.rs",
            "/home/u/app/rust/library/src/main.rs",
            "/home/u/app/library/core/src/lib.rs",
            "/home/u/app/build/orders-service/out/src/main.rs",
            "/home/u/app/orders-2/src/main.rs",
            "/home/u/app/orders-2.0/src/main.rs",
            "/home/u/app/orders-next/src/main.rs",
        ];
        assert_are(Owner::User, &built_in("/home/u/app"), &in_workspace);
        assert_are(Owner::User, &[], &in_workspace);
    }

    #[test]
    fn the_workspace_may_be_anywhere() {
        for folder in ["/", "/home/u/app", "/srv/vendor/team", "/build/shop-1.2.3"] {
            let compilations = built_in(folder);
            let folder = folder.trim_end_matches('/');
            let [own, vendored, fetched] = [
                "src/main.rs",
                "vendor/serde/src/lib.rs",
                // A pipeline may have `CARGO_HOME` there.
                ".cargo/registry/src/index.crates.io-1949cf8c6b5b557f/ripgrep-14.1.0/crates/core/main.rs",
            ]
            .map(|inside| format!("{folder}/{inside}"));
            assert_are(Owner::User, &compilations, &[&own]);
            assert_are(Owner::Others, &compilations, &[&vendored, &fetched]);
        }
    }

    #[test]
    fn the_program_may_be_built_from_its_package() {
        let own = [
            "/build/app-1.2.3/src/main.rs",
            "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/app-1.2.3/src/main.rs",
            "/root/.cargo/git/checkouts/app-0123456789abcdef/1a2b3c4/orders/src/lib.rs",
        ];
        assert_are(Owner::User, &[], &own);
        assert_are(
            Owner::Others,
            &[],
            &["/build/app-1.2.3/vendor/serde/src/lib.rs"],
        );
        // A dependency that has the name of the program.
        assert_are(Owner::Others, &built_in("/home/u/app"), &own);
    }

    #[test]
    fn path_dependencies_elsewhere_are_not() {
        let elsewhere = ["/home/u/orders/src/lib.rs", "/home/u/app-core/src/lib.rs"];
        assert_are(Owner::Others, &built_in("/home/u/app"), &elsewhere);
        for remapped in ["", "."] {
            assert_are(Owner::Others, &built_in(remapped), &elsewhere);
            assert_are(Owner::User, &built_in(remapped), &["src/main.rs"]);
        }
        // Where the workspace is not known, they cannot be distinguished from it.
        assert_are(Owner::User, &[], &elsewhere);
    }

    #[test]
    fn only_crates_of_a_workspace_show_where_it_is() {
        for (folder, file) in [
            // Cargo's path is that of the whole file.
            (
                "/home/u/orders",
                "/home/u/orders/src/lib.rs/@/orders.0123456789abcdef-cgu.0",
            ),
            (
                "/home/u/.cargo/registry/src/x/sqlite-1.0.0",
                "sqlite3/sqlite3.c",
            ),
            (
                "/rustc/59807616",
                "library/core/src/lib.rs/@/core.0123456789abcdef-cgu.0",
            ),
            (
                "/usr/src/rustc-1.85.0",
                "library/core/src/lib.rs/@/core.0123456789abcdef-cgu.0",
            ),
        ] {
            let compilation = Compilation {
                folder: folder.to_owned(),
                file: file.to_owned(),
            };
            assert!(!is_of_workspace(&compilation), "{compilation:?}");
        }
        assert!(is_of_workspace(&built_in("/home/u/app")[0]));
    }

    #[test]
    fn what_cargo_has_fetched_is_not() {
        let fetched = [
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
        ];
        assert_are(Owner::Others, &built_in("/home/u/app"), &fetched);
        assert_are(Owner::Others, &[], &fetched);
    }

    #[test]
    fn what_is_vendored_is_not() {
        let vendored = [
            "/home/u/app/vendor/serde/src/lib.rs",
            "/home/u/app/vendor/serde-1.0.0/src/lib.rs",
            "vendor/serde/src/lib.rs",
            "/nix/store/0c1y-vendor-cargo-deps/0f2d/tokio-1.54.1/src/lib.rs",
        ];
        assert_are(Owner::Others, &built_in("/home/u/app"), &vendored);
        assert_are(Owner::Others, &[], &vendored);
    }

    #[test]
    fn the_standard_library_is_not() {
        let std = [
            "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/pin.rs",
            "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/std/src/thread/mod.rs",
            "/rust/deps/hashbrown-0.15.2/src/raw.rs",
            "/root/.rustup/toolchains/x/lib/rustlib/src/rust/library/std/src/lib.rs",
            "/usr/src/rustc-1.85.0/library/std/src/thread/mod.rs",
        ];
        assert_are(Owner::Others, &built_in("/"), &std);
        assert_are(Owner::Others, &[], &std);
    }

    #[test]
    fn other_languages_are_not() {
        let others = [
            "/build/glibc/nptl/futex.c",
            "/home/u/app/src/shim.c",
            "sqlite3/sqlite3.c",
            "",
            "/",
        ];
        assert_are(Owner::Others, &built_in("/home/u/app"), &others);
        assert_are(Owner::Others, &[], &others);
    }

    #[test]
    fn what_is_generated_is_unknown() {
        let generated = [
            "/home/u/app/target/debug/build/app-0123456789abcdef/out/api.rs",
            "/tmp/target/debug/build/app/0123456789abcdef/out/api.rs",
        ];
        assert_are(Owner::Unknown, &built_in("/home/u/app"), &generated);
        assert_are(Owner::Unknown, &[], &generated);
    }
}
