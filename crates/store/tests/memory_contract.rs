//! The contract, held against the store in memory.

use std::sync::Arc;

use restic_manager_store::{MemoryStore, Store, contract_tests};

contract_tests!(async { (Arc::new(MemoryStore::new()) as Arc<dyn Store>, ()) });
