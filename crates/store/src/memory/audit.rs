//! The audit log, and facts about the installation.

use std::cmp::Reverse;

use async_trait::async_trait;
use restic_manager_core::model::{AuditEntry, AuditRow};

use super::{MemoryStore, pages};
use crate::{Audit, AuditFilter, Listed, Meta, PageRequest, Result};

#[async_trait]
impl Audit for MemoryStore {
    async fn record(&self, entry: AuditEntry) -> Result<()> {
        self.state().write_audit(entry);
        Ok(())
    }

    async fn audit(&self, filter: &AuditFilter, page: PageRequest) -> Result<Listed<AuditRow>> {
        let state = self.state();
        let matching = state.audit.values().rev().filter(|entry| matches(filter, entry));
        pages::page(matching.map(|entry| (Reverse(entry.id), shown(entry))), &page)
    }
}

#[async_trait]
impl Meta for MemoryStore {
    async fn fact(&self, key: &str) -> Result<Option<String>> {
        Ok(self.state().facts.get(key).cloned())
    }

    async fn fact_or_insert(&self, key: &str, value: &str) -> Result<String> {
        Ok(self.state().facts.entry(key.to_owned()).or_insert_with(|| value.to_owned()).clone())
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}

fn matches(filter: &AuditFilter, entry: &AuditEntry) -> bool {
    filter.actor_kind.is_none_or(|kind| kind == entry.actor.kind)
        && filter.actor.as_ref().is_none_or(|actor| *actor == entry.actor.name)
        && filter.action.as_ref().is_none_or(|action| *action == entry.action)
        && filter.subject_kind.as_ref().is_none_or(|kind| *kind == entry.subject_kind)
        && filter.subject_id.as_ref().is_none_or(|id| *id == entry.subject_id)
        && filter.since.is_none_or(|since| entry.at >= since)
}

fn shown(entry: &AuditEntry) -> AuditRow {
    AuditRow {
        id: entry.id,
        at: entry.at,
        actor_kind: entry.actor.kind,
        actor: entry.actor.name.clone(),
        action: entry.action.clone(),
        subject_kind: entry.subject_kind.clone(),
        subject_id: entry.subject_id.clone(),
        detail: entry.detail.clone(),
    }
}
