//! The arrows between the crates point one way, and each library stays where it belongs.

#![allow(clippy::unwrap_used)] // a test that cannot go on panics

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The normal dependencies of each of our crates, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
    metadata
        .packages
        .iter()
        .map(|package| {
            let normal = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| dependency.name.clone())
                .collect();
            (package.name.to_string(), normal)
        })
        .collect()
}

fn ours(all: &BTreeMap<String, BTreeSet<String>>, name: &str) -> Vec<String> {
    all[name].iter().filter(|dependency| dependency.starts_with("restic-manager-")).cloned().collect()
}

#[test]
fn our_crates_depend_on_each_other_in_one_direction() {
    let all = dependencies();
    let none: Vec<String> = Vec::new();
    assert_eq!(ours(&all, "restic-manager-core"), none);
    assert_eq!(ours(&all, "restic-manager-store"), ["restic-manager-core"]);
    assert_eq!(ours(&all, "restic-manager-agent"), ["restic-manager-core"]);
    assert_eq!(ours(&all, "restic-manager-cli"), ["restic-manager-core"]);
    assert_eq!(ours(&all, "restic-manager-server"), ["restic-manager-core", "restic-manager-store"]);
    assert_eq!(ours(&all, "restic-manager-fuzz"), ["restic-manager-agent", "restic-manager-core"]);
    let engine = ["restic-manager-core", "restic-manager-server", "restic-manager-store"];
    assert_eq!(ours(&all, "restic-manager-sim"), engine);
}

#[test]
fn each_library_stays_in_its_crate() {
    let homes = [
        // The tests of the whole house write a fleet of a million jobs in one go.
        ("sqlx", &["restic-manager-store", "restic-manager-e2e"][..]),
        ("warp", &["restic-manager-server"][..]),
        ("matchit", &["restic-manager-server"][..]),
        ("argon2", &["restic-manager-server"][..]),
        ("askama", &["restic-manager-server"][..]),
        // The tests of the whole house drive a browser with it.
        (
            "tokio",
            &["restic-manager-store", "restic-manager-agent", "restic-manager-server", "restic-manager-e2e"]
                [..],
        ),
        ("clap", &["restic-manager-agent", "restic-manager-server", "restic-manager-cli"][..]),
        ("age", &["restic-manager-agent", "restic-manager-server"][..]),
    ];
    for (name, dependencies) in dependencies() {
        for (library, allowed) in homes {
            if dependencies.contains(library) {
                assert!(allowed.contains(&name.as_str()), "{name} depends on {library}");
            }
        }
    }
}

#[test]
fn the_core_has_no_runtime_no_io_and_few_dependencies() {
    let core = &dependencies()["restic-manager-core"];
    let allowed = ["jiff", "serde", "serde_json", "thiserror", "utoipa", "uuid", "zeroize"];
    let extra: Vec<&String> = core.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
    assert!(extra.is_empty(), "the core gained {extra:?}: add them here with a reason, or leave them out");
}

/// Only these folders may name warp or hyper's types.
#[test]
fn the_engine_and_the_facade_know_nothing_of_http() {
    for folder in ["src/engine", "src/app"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut files = 0;
        for_each_file(&path, &mut |file, text| {
            files += 1;
            for word in ["warp::", "hyper::", "http::Status", "tungstenite", "sqlx"] {
                assert!(!text.contains(word), "{} names {word}", file.display());
            }
        });
        assert!(files > 5, "{folder} has moved");
    }
}

fn for_each_file(folder: &std::path::Path, look: &mut impl FnMut(&std::path::Path, &str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for_each_file(&path, look);
        } else {
            look(&path, &std::fs::read_to_string(&path).unwrap());
        }
    }
}
