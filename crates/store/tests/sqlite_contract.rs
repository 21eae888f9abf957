//! The contract, held against SQLite in a file of its own for every clause.

#![cfg(feature = "sqlite")]

use std::sync::Arc;

use restic_manager_store::{SqliteStore, Store, contract_tests};

async fn in_a_file() -> (Arc<dyn Store>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder of its own");
    let store = SqliteStore::open(&folder.path().join("store.db")).await.expect("a new database");
    (Arc::new(store), folder)
}

contract_tests!(in_a_file());
