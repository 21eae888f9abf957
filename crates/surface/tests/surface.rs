//! The public items of each crate are those that were reviewed, and lend nobody the types of a database, a web framework or a socket library.

#![allow(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand};

const CRATES: [&str; 5] = [
    "restic-manager-core",
    "restic-manager-store",
    "restic-manager-agent",
    "restic-manager-server",
    "restic-manager-cli",
];

/// Libraries whose next major release is none of our users' business.
const INNER: [&str; 9] = [
    "sqlx",
    "sqlx_core",
    "sqlx_sqlite",
    "libsqlite3_sys",
    "warp",
    "hyper",
    "hyper_util",
    "tungstenite",
    "tokio_tungstenite",
];

/// Where such a type may stand: the shell around the engine is made of them.
const SHELLS: [&str; 3] =
    ["restic_manager_server::web::", "restic_manager_server::ws::", "restic_manager_server::shell::"];

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn workspace() -> Metadata {
    let manifest = here().join("../../Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap()
}

fn kept(package: &str) -> PathBuf {
    here().join(format!("api/{package}.txt"))
}

/// The public items of a crate with its default features, one a line: what the compiler derives is left out, and so is what it implements
/// by itself.
fn public_items(package: &str) -> String {
    let made = Command::new(env!("CARGO"))
        .current_dir(here())
        .env("RUSTDOC", here().join("rustdoc"))
        .args(["rustdoc", "--quiet", "--locked", "--lib", "--package", package])
        .args(["--", "-Zunstable-options", "--output-format=json", "--cap-lints=allow"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let json = workspace().target_directory.join(format!("doc/{}.json", package.replace('-', "_")));
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .unwrap();
    api.items().map(|item| format!("{item}\n")).collect()
}

fn reviewed(package: &str) {
    let (items, kept) = (public_items(package), kept(package));
    if std::env::var_os("RM_BLESS").is_some() {
        std::fs::write(&kept, &items).unwrap();
    }
    let before = std::fs::read_to_string(&kept).unwrap_or_default();
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), items.lines().collect());
    let gone: Vec<String> = old.difference(&new).map(|line| format!("- {line}")).collect();
    let come: Vec<String> = new.difference(&old).map(|line| format!("+ {line}")).collect();
    assert!(
        before == items,
        "the public items of {package} are not those that were reviewed:\n{}\nremedy: RM_BLESS=1 cargo nextest run -p \
         restic-manager-surface, and read what changed in crates/surface/api",
        [gone, come].concat().join("\n")
    );
}

#[test]
fn of_the_core() {
    reviewed(CRATES[0]);
}

#[test]
fn of_the_store() {
    reviewed(CRATES[1]);
}

#[test]
fn of_the_agent() {
    reviewed(CRATES[2]);
}

#[test]
fn of_the_server() {
    reviewed(CRATES[3]);
}

#[test]
fn of_the_cli() {
    reviewed(CRATES[4]);
}

/// The paths that a line names, each from its first segment on.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !(letter.is_alphanumeric() || "_:".contains(letter)))
        .map(|word| word.trim_start_matches(':'))
        .filter(|word| word.contains("::"))
}

#[test]
fn no_type_of_an_inner_library_is_lent_to_others() {
    let mut leaks = Vec::new();
    for package in CRATES {
        let items = std::fs::read_to_string(kept(package)).unwrap();
        assert!(items.lines().count() >= 5, "{package} shows nothing");
        for line in items.lines().filter(|line| !SHELLS.iter().any(|shell| line.contains(shell))) {
            let leaks_here =
                paths(line).any(|path| INNER.iter().any(|inner| path.split("::").next() == Some(inner)));
            if leaks_here {
                leaks.push(line.to_owned());
            }
        }
    }
    assert_eq!(leaks, Vec::<String>::new());
}

#[test]
fn every_published_crate_is_reviewed() {
    let published: BTreeSet<String> = workspace()
        .packages
        .iter()
        .filter(|package| package.publish.as_ref().is_none_or(|registries| !registries.is_empty()))
        .map(|package| package.name.to_string())
        .collect();
    assert_eq!(published, CRATES.map(str::to_owned).into());
}

#[test]
fn the_oldest_compiler_that_is_promised_is_the_one_that_builds_the_tests() {
    let said = Command::new("rustc").arg("--version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    for package in workspace().packages {
        let promised = package.rust_version.as_ref().expect("every package names its compiler");
        assert!(
            said.starts_with(&format!("rustc {}.{}.", promised.major, promised.minor)),
            "{} promises Rust {promised}, but what is tried is {said}remedy: run the tests with that compiler, or promise this one",
            package.name
        );
    }
}
