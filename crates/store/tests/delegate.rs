//! A layer of one's own has any name: those of the nouns, and those of the store itself.

#![allow(clippy::unwrap_used, reason = "a test stops at the first fault")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use restic_manager_store::{MemoryStore, Meta as _};

/// A layer with the name of the trait.
mod named_store {
    use super::{Arc, AtomicU64, MemoryStore, Ordering};

    pub(crate) struct Store {
        pub(crate) inner: Arc<dyn restic_manager_store::Store>,
        pub(crate) calls: AtomicU64,
    }

    impl Store {
        pub(crate) fn new() -> Self {
            Self { inner: Arc::new(MemoryStore::new()), calls: AtomicU64::new(0) }
        }

        fn count(&self, _verb: &'static str) {
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    restic_manager_store::delegate_store!(Store => inner before count:
        Accounts, Audit, Fleet, Glance, Maintenance, Meta, PendingHosts, PendingRuns, Plans, Reports, Work);
}

/// Layers with the names of a noun of the core and of the answer, in two parts, and an instance of a layer with a parameter.
mod named_as_nouns {
    use restic_manager_store::delegate_store;

    use super::{Arc, MemoryStore};

    pub(crate) struct Host {
        pub(crate) backend: Box<MemoryStore>,
    }

    delegate_store!(Host => backend: Accounts, Audit, Fleet, Glance, Maintenance, Meta);
    delegate_store!(Host => backend: PendingHosts, PendingRuns, Plans, Reports, Work);

    pub(crate) struct Result<S> {
        pub(crate) inner: S,
    }

    delegate_store!(Result<Arc<MemoryStore>> => inner:
        Accounts, Audit, Fleet, Glance, Maintenance, Meta, PendingHosts, PendingRuns, Plans, Reports, Work);
}

#[tokio::test]
async fn a_layer_named_store_hands_on_and_is_told_before() {
    let store = named_store::Store::new();
    assert_eq!(store.fact_or_insert("id", "first").await.unwrap(), "first");
    assert_eq!(store.inner.fact("id").await.unwrap().as_deref(), Some("first"));
    assert_eq!(store.calls.load(Ordering::Relaxed), 1);
    let whole: Arc<dyn restic_manager_store::Store> = Arc::new(store);
    whole.ping().await.unwrap();
}

#[tokio::test]
async fn layers_named_as_nouns_hand_on() {
    let layers: [Arc<dyn restic_manager_store::Store>; 2] = [
        Arc::new(named_as_nouns::Host { backend: Box::new(MemoryStore::new()) }),
        Arc::new(named_as_nouns::Result { inner: Arc::new(MemoryStore::new()) }),
    ];
    for layer in layers {
        layer.fact_or_insert("id", "first").await.unwrap();
        assert_eq!(layer.fact_or_insert("id", "second").await.unwrap(), "first");
    }
}
