//! Source groups and schedules.

use std::sync::Arc;

use restic_manager_core::id::{GroupId, HostId, ScheduleId};
use restic_manager_core::model::{Schedule, SourceGroup};
use restic_manager_core::text::{SourcePath, Tag};

use super::fixture::{
    at, at_once, audit, enrolled, group, host_now, made_group, made_schedule, mint, name, schedule, tied,
};
use crate::{GroupDeleted, PlanWritten, Store};

async fn create(store: &Arc<dyn Store>, group: &SourceGroup) -> PlanWritten {
    store.create_group(group.clone(), audit("group.created")).await.unwrap()
}

async fn replace(store: &Arc<dyn Store>, group: &SourceGroup) -> PlanWritten {
    store.replace_group(group.clone(), audit("group.changed")).await.unwrap()
}

async fn create_schedule(store: &Arc<dyn Store>, schedule: &Schedule) -> PlanWritten {
    store.create_schedule(schedule.clone(), audit("schedule.created")).await.unwrap()
}

async fn replace_schedule(store: &Arc<dyn Store>, schedule: &Schedule) -> PlanWritten {
    store.replace_schedule(schedule.clone(), audit("schedule.changed")).await.unwrap()
}

/// A group's name is unique on its host whatever its case, its tag as it is; another host may have both.
pub async fn a_group_has_its_name_and_tag_for_itself_on_its_host(store: &Arc<dyn Store>) {
    let (web, db) = (enrolled(store, "web").await, enrolled(store, "db").await);
    let home = SourceGroup { tag: Tag::new("home").unwrap(), ..made_group(store, &web, "unused").await };
    let home = SourceGroup { id: mint(GroupId::mint), name: name("Höme"), ..home };
    assert!(matches!(create(store, &home).await, PlanWritten::Done(_)));
    assert_eq!(create(store, &group(&web, "HÖME")).await, PlanWritten::NameTaken);
    let same_tag = SourceGroup { tag: home.tag.clone(), ..group(&web, "other") };
    assert_eq!(create(store, &same_tag).await, PlanWritten::TagTaken);
    let other_case = SourceGroup { tag: Tag::new("HOME").unwrap(), ..group(&web, "other") };
    assert!(matches!(create(store, &other_case).await, PlanWritten::Done(_)));
    let elsewhere = SourceGroup { id: mint(GroupId::mint), host_id: db.id, ..home.clone() };
    assert!(matches!(create(store, &elsewhere).await, PlanWritten::Done(_)));
    let orphan = SourceGroup { host_id: mint(HostId::mint), ..group(&web, "third") };
    assert_eq!(create(store, &orphan).await, PlanWritten::NotFound);
    assert_eq!(store.group(home.id).await.unwrap(), Some(home));
    assert_eq!(store.group(orphan.id).await.unwrap(), None);
}

/// Of several groups of one name at once one is made.
pub async fn a_group_name_is_given_once_however_many_try(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let try_one = |store: Arc<dyn Store>, _| {
        let wanted = group(&host, "home");
        async move { store.create_group(wanted, audit("group.created")).await.unwrap() }
    };
    let answers = at_once(6, try_one, store).await;
    assert_eq!(
        answers.iter().filter(|answer| matches!(answer, PlanWritten::Done(_))).count(),
        1,
        "{answers:?}"
    );
    assert_eq!(host_now(store, &host).await.schedule_version, host.schedule_version + 1);
}

/// A replaced group keeps its host, its tag and the time it was made.
pub async fn a_replaced_group_keeps_host_tag_and_creation(store: &Arc<dyn Store>) {
    let (web, db) = (enrolled(store, "web").await, enrolled(store, "db").await);
    let (home, other) = (made_group(store, &web, "home").await, made_group(store, &web, "other").await);
    let new = SourceGroup {
        name: name("HOME"),
        tag: Tag::new("new").unwrap(),
        includes: vec![SourcePath::new("/etc").unwrap()],
        retry_max: 7,
        created_at: at(99),
        updated_at: at(99),
        ..home.clone()
    };
    assert!(matches!(replace(store, &new).await, PlanWritten::Done(_)));
    let kept = SourceGroup { tag: home.tag.clone(), created_at: home.created_at, ..new.clone() };
    assert_eq!(store.group(home.id).await.unwrap().as_ref(), Some(&kept));
    let taken = SourceGroup { name: name("OTHER"), ..new.clone() };
    assert_eq!(replace(store, &taken).await, PlanWritten::NameTaken);
    let foreign = SourceGroup { host_id: db.id, ..new.clone() };
    assert_eq!(replace(store, &foreign).await, PlanWritten::NotFound);
    let unknown = SourceGroup { id: mint(GroupId::mint), ..new };
    assert_eq!(replace(store, &unknown).await, PlanWritten::NotFound);
    assert_eq!(store.group(home.id).await.unwrap(), Some(kept));
    assert_eq!(store.group(other.id).await.unwrap(), Some(other));
}

/// A group that schedules use stays, and the refusal names them by name.
pub async fn a_group_in_use_is_not_deleted(store: &Arc<dyn Store>) {
    let (web, db) = (enrolled(store, "web").await, enrolled(store, "db").await);
    let (home, free) = (made_group(store, &web, "home").await, made_group(store, &web, "free").await);
    let weekly = made_schedule(store, &web, "Weekly", &[&home]).await;
    let nightly = made_schedule(store, &web, "nightly", &[&free, &home]).await;
    made_schedule(store, &web, "other", &[&free]).await;
    let delete =
        |host_id, id| async move { store.delete_group(host_id, id, audit("group.deleted")).await.unwrap() };
    assert_eq!(delete(web.id, home.id).await, GroupDeleted::InUse(vec![nightly.clone(), weekly.clone()]));
    assert!(store.group(home.id).await.unwrap().is_some());
    for schedule in [&nightly, &weekly] {
        assert!(store.delete_schedule(web.id, schedule.id, audit("schedule.deleted")).await.unwrap());
    }
    assert_eq!(delete(db.id, home.id).await, GroupDeleted::NotFound, "it is another host's");
    assert_eq!(delete(web.id, home.id).await, GroupDeleted::Done);
    assert_eq!(delete(web.id, home.id).await, GroupDeleted::NotFound);
    assert_eq!(store.group(home.id).await.unwrap(), None);
}

/// A schedule names groups of its own host only; the others are told in its order.
pub async fn a_schedule_names_groups_of_its_own_host(store: &Arc<dyn Store>) {
    let (web, db) = (enrolled(store, "web").await, enrolled(store, "db").await);
    let (own, foreign) = (made_group(store, &web, "home").await, made_group(store, &db, "home").await);
    let unknown = group(&web, "never made");
    let wrong = schedule(&web, "nightly", &[&unknown, &own, &foreign]);
    let refused = PlanWritten::UnknownGroups(vec![unknown.id, foreign.id]);
    assert_eq!(create_schedule(store, &wrong).await, refused);
    assert_eq!(store.schedule(wrong.id).await.unwrap(), None);
    let right = made_schedule(store, &web, "nightly", &[&own]).await;
    let worse = Schedule { group_ids: wrong.group_ids.clone(), ..right.clone() };
    assert_eq!(replace_schedule(store, &worse).await, refused);
    assert_eq!(store.schedule(right.id).await.unwrap(), Some(right));
}

/// A schedule's name is unique on its host, whatever its case.
pub async fn a_schedule_name_is_unique_on_its_host(store: &Arc<dyn Store>) {
    let (web, db) = (enrolled(store, "web").await, enrolled(store, "db").await);
    let (home, other) = (made_group(store, &web, "home").await, made_group(store, &db, "home").await);
    let nightly = made_schedule(store, &web, "nightly", &[&home]).await;
    assert_eq!(create_schedule(store, &schedule(&web, "NIGHTLY", &[&home])).await, PlanWritten::NameTaken);
    made_schedule(store, &db, "nightly", &[&other]).await;
    let weekly = made_schedule(store, &web, "weekly", &[&home]).await;
    let taken = Schedule { name: name("Nightly"), ..weekly };
    assert_eq!(replace_schedule(store, &taken).await, PlanWritten::NameTaken);
    let own = Schedule { name: name("Nightly"), ..nightly };
    assert!(matches!(replace_schedule(store, &own).await, PlanWritten::Done(_)));
    let orphan = Schedule { host_id: mint(HostId::mint), ..schedule(&web, "new", &[]) };
    assert_eq!(create_schedule(store, &orphan).await, PlanWritten::NotFound);
}

/// A replaced schedule keeps its host and the time it was made, and takes everything else in its order.
pub async fn a_replaced_schedule_keeps_host_and_creation(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let other = enrolled(store, "db").await;
    let (a, b) = (made_group(store, &host, "a").await, made_group(store, &host, "b").await);
    let old = made_schedule(store, &host, "nightly", &[&a, &b]).await;
    assert_eq!(store.schedule(old.id).await.unwrap().as_ref(), Some(&old));
    let new = Schedule {
        cron: "0 4 * * 0".parse().unwrap(),
        timezone: "UTC".parse().unwrap(),
        enabled: false,
        group_ids: vec![b.id, a.id],
        repo_ids: Some(vec![repo.id]),
        created_at: at(99),
        updated_at: at(99),
        ..old.clone()
    };
    assert!(matches!(replace_schedule(store, &new).await, PlanWritten::Done(_)));
    let kept = Schedule { created_at: old.created_at, ..new.clone() };
    assert_eq!(store.schedule(old.id).await.unwrap().as_ref(), Some(&kept));
    let foreign = Schedule { host_id: other.id, ..new.clone() };
    assert_eq!(replace_schedule(store, &foreign).await, PlanWritten::NotFound);
    let unknown = Schedule { id: mint(ScheduleId::mint), ..new };
    assert_eq!(replace_schedule(store, &unknown).await, PlanWritten::NotFound);
    assert_eq!(store.schedule(old.id).await.unwrap(), Some(kept));
}

/// Only the schedules of the host are deleted by it.
pub async fn a_schedule_is_deleted_by_its_own_host(store: &Arc<dyn Store>) {
    let (web, db) = (enrolled(store, "web").await, enrolled(store, "db").await);
    let home = made_group(store, &web, "home").await;
    let nightly = made_schedule(store, &web, "nightly", &[&home]).await;
    let delete = |host_id| async move {
        store.delete_schedule(host_id, nightly.id, audit("schedule.deleted")).await.unwrap()
    };
    assert!(!delete(db.id).await);
    assert!(delete(web.id).await);
    assert!(!delete(web.id).await);
    assert_eq!(store.schedule(nightly.id).await.unwrap(), None);
}

/// Every write of a plan raises its version by one and tells it; what is refused raises nothing.
pub async fn every_plan_write_raises_its_version(store: &Arc<dyn Store>) {
    let host = enrolled(store, "web").await;
    let version = || async { host_now(store, &host).await.schedule_version };
    let start = version().await;
    let home = group(&host, "home");
    assert_eq!(create(store, &home).await, PlanWritten::Done(start + 1));
    assert_eq!(create(store, &group(&host, "home")).await, PlanWritten::NameTaken);
    assert_eq!(replace(store, &home).await, PlanWritten::Done(start + 2));
    let nightly = schedule(&host, "nightly", &[&home]);
    assert_eq!(create_schedule(store, &nightly).await, PlanWritten::Done(start + 3));
    assert_eq!(replace_schedule(store, &nightly).await, PlanWritten::Done(start + 4));
    store.delete_group(host.id, home.id, audit("group.deleted")).await.unwrap();
    assert_eq!(version().await, start + 4, "it is in use");
    assert!(store.delete_schedule(host.id, nightly.id, audit("schedule.deleted")).await.unwrap());
    assert_eq!(version().await, start + 5);
    store.delete_group(host.id, home.id, audit("group.deleted")).await.unwrap();
    assert_eq!(version().await, start + 6);
    assert!(!store.delete_schedule(host.id, nightly.id, audit("schedule.deleted")).await.unwrap());
    assert_eq!(version().await, start + 6);
}

/// The plan holds groups and schedules by name, disabled ones included, and nothing of other hosts.
pub async fn a_plan_is_read_whole(store: &Arc<dyn Store>) {
    let (host, repo) = tied(store, "web").await;
    let (b, a) = (made_group(store, &host, "Beta").await, made_group(store, &host, "alpha").await);
    let weekly = made_schedule(store, &host, "weekly", &[&a]).await;
    let nightly = Schedule { enabled: false, ..schedule(&host, "Nightly", &[&b, &a]) };
    create_schedule(store, &nightly).await;
    let (other, _) = tied(store, "db").await;
    made_group(store, &other, "home").await;
    let plan = store.plan(host.id).await.unwrap().unwrap();
    assert_eq!(plan.host, host_now(store, &host).await);
    assert_eq!(plan.groups, [a, b]);
    assert_eq!(plan.schedules, [nightly, weekly]);
    assert_eq!(plan.attachments.iter().map(|attachment| attachment.repo_id).collect::<Vec<_>>(), [repo.id]);
    assert_eq!(store.plan(mint(HostId::mint)).await.unwrap(), None);
}

/// The enabled schedules of the hosts asked for, by host and schedule.
pub async fn enabled_schedules_are_those_that_fire(store: &Arc<dyn Store>) {
    let (web, db, mail) =
        (enrolled(store, "web").await, enrolled(store, "db").await, enrolled(store, "mail").await);
    let mut expected = Vec::new();
    for host in [&web, &db, &mail] {
        let home = made_group(store, host, "home").await;
        expected.push(made_schedule(store, host, "z", &[&home]).await);
        expected.push(made_schedule(store, host, "a", &[&home]).await);
        create_schedule(store, &Schedule { enabled: false, ..schedule(host, "off", &[&home]) }).await;
    }
    expected.truncate(4);
    let asked = [db.id, web.id, mint(HostId::mint)];
    assert_eq!(store.enabled_schedules(&asked).await.unwrap(), expected);
}
