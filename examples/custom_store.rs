//! A store of one's own: facts in a folder, everything else in a store behind it, and every call counted. It passes the contract.
//!
//! ```text
//! cargo test -p restic-manager-examples --test custom_store
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use restic_manager_store::{
    Audit, AuditFilter, MemoryStore, Meta, PageRequest, Result, Store, StoreError, delegate_store,
};

/// A layer over another store that keeps its facts in files.
pub(crate) struct FolderFacts {
    inner: Arc<dyn Store>,
    folder: PathBuf,
    calls: Mutex<BTreeMap<&'static str, u64>>,
}

// All capabilities but one are the inner store's; each of their calls is counted first.
delegate_store!(FolderFacts => inner before count:
    Accounts, Audit, Fleet, Glance, Maintenance, PendingHosts, PendingRuns, Plans, Reports, Work);

impl FolderFacts {
    pub(crate) fn new(inner: Arc<dyn Store>, folder: &Path) -> Self {
        Self { inner, folder: folder.to_owned(), calls: Mutex::default() }
    }

    fn count(&self, verb: &'static str) {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(verb).or_default() += 1;
    }

    /// A key may hold anything; a file's name may not.
    fn file(&self, key: &str) -> PathBuf {
        let name: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("fact-{name}"))
    }

    fn read(&self, key: &str) -> Result<Option<String>> {
        match std::fs::read_to_string(self.file(key)) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault("read a fact", error)),
        }
    }
}

/// The capability of one's own: small files, read and written at once, which a runtime's thread can bear.
#[async_trait]
impl Meta for FolderFacts {
    async fn fact(&self, key: &str) -> Result<Option<String>> {
        self.read(key)
    }

    async fn fact_or_insert(&self, key: &str, value: &str) -> Result<String> {
        let doing = "write a fact";
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(|error| fault(doing, error))?;
        file.write_all(value.as_bytes()).map_err(|error| fault(doing, error))?;
        // Whole or not at all, and the first of many wins: the system links a name only once.
        match file.persist_noclobber(self.file(key)) {
            Ok(_) => Ok(value.to_owned()),
            Err(lost) if lost.error.kind() == ErrorKind::AlreadyExists => {
                self.read(key)?.ok_or_else(|| StoreError::Missing { what: "fact", id: key.to_owned() })
            }
            Err(lost) => Err(fault(doing, lost.error)),
        }
    }

    async fn ping(&self) -> Result<()> {
        std::fs::read_dir(&self.folder).map_err(|error| fault("look into its folder", error))?;
        self.inner.ping().await
    }
}

fn fault(doing: &'static str, source: std::io::Error) -> StoreError {
    StoreError::Backend { doing, source: Box::new(source) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    for start in ["first", "second"] {
        let store = FolderFacts::new(Arc::new(MemoryStore::new()), folder.path());
        let fact = store.fact_or_insert("installation", start).await?;
        store.audit(&AuditFilter::default(), PageRequest::first(10)).await?;
        println!("the {start} start finds the installation `{fact}`");
        for (verb, count) in store.calls.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            println!("  {verb}: {count}");
        }
    }
    Ok(())
}
