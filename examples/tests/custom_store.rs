//! The example of a store passes the contract: one test of each clause.

#![allow(dead_code, reason = "the example's own main is not called")]

use std::sync::Arc;

use custom_store::FolderFacts;
use restic_manager_store::{MemoryStore, Store};

#[path = "../custom_store.rs"]
mod custom_store;

async fn in_a_folder() -> (Arc<dyn Store>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder of its own");
    let store = FolderFacts::new(Arc::new(MemoryStore::new()), folder.path());
    (Arc::new(store), folder)
}

restic_manager_store::contract_tests!(in_a_folder());
