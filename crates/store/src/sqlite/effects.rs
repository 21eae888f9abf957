//! What reports change, gathered so that one statement serves many of them.

use std::collections::BTreeMap;

use restic_manager_core::id::{HostId, JobId, RepoId, SpoolId};
use restic_manager_core::model::{AuditEntry, JobEvent, JobSummary, RepoStats, transition};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::Timestamp;
use sqlx::SqliteConnection;

use super::apply::{Answer, Report};
use super::fault::Doing;
use super::log::{self, Part};
use super::moves::{Touched, Word, advance};
use super::reach::Reach;
use super::rows::{Fields, integer, json};
use super::subjects::{Subject, jobs_of, subjects};
use super::{adopt, attachments, audit, fires, maintenance, plans, repos, runs, snapshots, stats, wake};
use crate::aftermath::Ended;
use crate::{Adoption, Applied, Effect, FiredRun, JobMove, MissedSlots, Result, StoreError};

/// Why an effect changes nothing but the number; none when it was applied.
type Ignored = Option<String>;

/// The reports of one commit.
///
/// Fires and log lines are gathered and written by few statements; whatever refers to a job that may be among the gathered fires
/// writes them first.
pub(super) struct Batch<'a, 'c> {
    connection: &'c mut SqliteConnection,
    touched: Touched,
    /// The jobs that the reports speak of.
    subjects: BTreeMap<JobId, Subject>,
    fires: Vec<(HostId, &'a FiredRun)>,
    /// Slots that passed before fires that are gathered, with the runs of those.
    missed: Vec<(HostId, &'a MissedSlots)>,
    reach: Reach,
    logs: BTreeMap<JobId, Vec<Part<'a>>>,
    audits: Vec<AuditEntry>,
}

impl<'a, 'c> Batch<'a, 'c> {
    /// Applies reports in order within a transaction; an answer for each.
    pub(super) async fn apply(
        connection: &'c mut SqliteConnection,
        reports: &'a [Report],
    ) -> Result<Vec<Answer>> {
        let hosts = hosts_there(connection, reports).await?;
        let mut spools = committed(connection, reports).await?;
        let subjects = subjects(connection, &jobs_of(reports)).await?;
        let now = reports.first().map_or(Timestamp::from_millis(0), |report| report.now);
        let mut batch = Self {
            connection,
            touched: Touched::at(now),
            subjects,
            fires: Vec::new(),
            missed: Vec::new(),
            reach: Reach::default(),
            logs: BTreeMap::new(),
            audits: Vec::new(),
        };
        let mut answers = Vec::with_capacity(reports.len());
        for report in reports {
            if !hosts.contains_key(&report.host_id) {
                answers.push(Err(StoreError::Missing { what: "host", id: report.host_id.to_string() }));
                continue;
            }
            let newest = spools.entry((report.host_id, report.spool_id)).or_default();
            answers.push(Ok(batch.apply_report(report, newest).await?));
        }
        spools.retain(|(host_id, _), _| hosts.contains_key(host_id));
        batch.finish(&spools).await?;
        Ok(answers)
    }

    async fn apply_report(&mut self, report: &'a Report, newest: &mut u64) -> Result<Vec<Applied>> {
        self.touched.now = report.now;
        let mut applied = Vec::with_capacity(report.effects.len());
        for numbered in &report.effects {
            if numbered.seq <= *newest {
                applied.push(Applied::Repeat);
                continue;
            }
            *newest = numbered.seq;
            let ignored = self.take(report.host_id, &numbered.effect).await?;
            applied.push(ignored.map_or(Applied::Done, Applied::Ignored));
        }
        Ok(applied)
    }

    async fn take(&mut self, host_id: HostId, effect: &'a Effect) -> Result<Ignored> {
        match effect {
            Effect::SetAside { audit } => {
                self.audits.push(audit.clone());
                Ok(None)
            }
            Effect::Fire { runs, missed } => {
                self.fires.extend(runs.iter().map(|fired| (host_id, fired)));
                self.missed.extend(missed.as_deref().map(|missed| (host_id, missed)));
                Ok(None)
            }
            Effect::PlanAcked { schedule_version } => self.plan_acked(host_id, *schedule_version).await,
            Effect::Refused { job_id, event, class, message, hint, at } => {
                let word = Word { class: *class, hint: hint.clone(), ..Word::new(*at, message) };
                let ignored = self.report(host_id, *job_id, *event, &word).await?;
                if ignored.is_none() && *event == JobEvent::Supersede {
                    runs::leave_to_another(self.connection, *job_id, self.touched.now).await?;
                }
                Ok(ignored)
            }
            Effect::Started { job_id, at, adopt } => {
                self.adopt(host_id, adopt.as_deref()).await?;
                let word = Word::new(*at, "");
                if adopt.is_some() && self.foreign(host_id, *job_id).await?.is_none() {
                    // Adopted as running: there may be nothing to add.
                    advance(self.connection, &mut self.touched, *job_id, JobEvent::Start, &word).await?;
                    return Ok(None);
                }
                self.report(host_id, *job_id, JobEvent::Start, &word).await
            }
            Effect::Log { job_id, lines } => self.log(host_id, *job_id, Part::Lines(lines)).await,
            Effect::LogGap { job_id, from: _, to } => self.log(host_id, *job_id, Part::SkipTo(*to)).await,
            Effect::Stats { repo_id, restic_id, stats: news } => {
                if !self.attached(host_id, *repo_id).await? {
                    return Ok(Some(not_attached(*repo_id)));
                }
                if let Some(restic_id) = restic_id {
                    // What becomes of it is no matter here: an id that does not fit is left alone.
                    repos::learn(self.connection, *repo_id, restic_id).await?;
                }
                stats::learn(self.connection, *repo_id, news, self.touched.now).await?;
                if news.locks.is_some() {
                    wake::repo(self.connection, *repo_id, self.touched.now).await?;
                }
                Ok(None)
            }
            Effect::Snapshots { repo_id, listed_at, total, snapshots } => {
                if !self.attached(host_id, *repo_id).await? {
                    return Ok(Some(not_attached(*repo_id)));
                }
                snapshots::replace(self.connection, host_id, *repo_id, *listed_at, *total, snapshots).await?;
                Ok(None)
            }
            Effect::Finished { job_id, at, state, class, exit_code, message, hint, summary, adopt } => {
                self.adopt(host_id, adopt.as_deref()).await?;
                let word = Word {
                    at: *at,
                    message: message.clone(),
                    class: Some(*class),
                    hint: hint.clone(),
                    exit_code: *exit_code,
                    summary: Some((**summary).clone()),
                    owes: None,
                };
                let ignored = self.report(host_id, *job_id, JobEvent::Finish(*state), &word).await?;
                if ignored.is_none() {
                    self.learn_from(*job_id, *class, *at, summary).await?;
                }
                Ok(ignored)
            }
        }
    }

    /// Moves a job of the host.
    async fn report(&mut self, host_id: HostId, id: JobId, event: JobEvent, word: &Word) -> Result<Ignored> {
        if let Some(why) = self.foreign(host_id, id).await? {
            return Ok(Some(why));
        }
        Ok(match advance(self.connection, &mut self.touched, id, event, word).await? {
            JobMove::Moved(_) => None,
            JobMove::NotFound => Some(no_job(id)),
            JobMove::Refused(state) => Some(
                transition(state, event)
                    .map_or_else(|late| format!("job {id}: {late}"), |_| format!("job {id}")),
            ),
        })
    }

    /// Takes from the end of a job what it says of its repository.
    async fn learn_from(
        &mut self,
        id: JobId,
        class: OutcomeClass,
        at: Timestamp,
        summary: &JobSummary,
    ) -> Result<()> {
        let Some(subject) = self.subjects.get(&id) else { return Ok(()) };
        let Subject { host_id, repo_id, kind, is_preview } = *subject;
        self.reach.note(repo_id, host_id, class);
        let ended = Ended { kind, is_preview, class, at, summary };
        let news = ended.stats();
        if news != RepoStats::default() && repos::by_id(self.connection, repo_id).await?.is_some() {
            stats::learn(self.connection, repo_id, &news, self.touched.now).await?;
        }
        if let Some(finding) = ended.finding() {
            maintenance::note_finding(self.connection, repo_id, finding, at).await?;
        }
        if ended.was_refused_to_delete() {
            attachments::note_append_only(self.connection, host_id, repo_id).await?;
        }
        Ok(())
    }

    async fn log(&mut self, host_id: HostId, id: JobId, part: Part<'a>) -> Result<Ignored> {
        if let Some(why) = self.foreign(host_id, id).await? {
            return Ok(Some(why));
        }
        self.logs.entry(id).or_default().push(part);
        Ok(None)
    }

    /// Why a job is none of the host's; none when it is.
    async fn foreign(&mut self, host_id: HostId, id: JobId) -> Result<Ignored> {
        if !self.fires.is_empty() {
            self.fire().await?;
        }
        Ok(match self.subjects.get(&id) {
            None => Some(no_job(id)),
            Some(subject) if subject.host_id != host_id => Some(format!("job {id} is another host's")),
            Some(_) => None,
        })
    }

    async fn fire(&mut self) -> Result<()> {
        let fires = std::mem::take(&mut self.fires);
        let written = fires::write(self.connection, &mut self.touched, &fires).await?;
        self.subjects.extend(written);
        for (host_id, missed) in std::mem::take(&mut self.missed) {
            if plans::count_missed(self.connection, host_id, missed).await? {
                self.audits.push(missed.audit.clone());
            }
        }
        Ok(())
    }

    async fn adopt(&mut self, host_id: HostId, adopt: Option<&Adoption>) -> Result<()> {
        let Some(adoption) = adopt else { return Ok(()) };
        if !self.fires.is_empty() {
            self.fire().await?;
        }
        let claims = std::slice::from_ref(adoption);
        let new = adopt::adopt(self.connection, &mut self.touched, host_id, claims).await?;
        self.subjects.extend(new);
        Ok(())
    }

    async fn plan_acked(&mut self, host_id: HostId, version: i64) -> Result<Ignored> {
        sqlx::query(
            "update hosts set schedule_version_acked = max(schedule_version_acked, ?2) where id = ?1",
        )
        .bind(host_id.to_string())
        .bind(version)
        .execute(&mut *self.connection)
        .await
        .doing("note the plan an agent works by")?;
        Ok(None)
    }

    async fn attached(&mut self, host_id: HostId, repo_id: RepoId) -> Result<bool> {
        sqlx::query_scalar("select exists (select 1 from attachments where host_id = ?1 and repo_id = ?2)")
            .bind(host_id.to_string())
            .bind(repo_id.to_string())
            .fetch_one(&mut *self.connection)
            .await
            .doing("look for an attachment")
    }

    /// Writes what was gathered, and the numbers.
    async fn finish(mut self, spools: &BTreeMap<(HostId, SpoolId), u64>) -> Result<()> {
        self.fire().await?;
        let now = self.touched.now;
        log::append(self.connection, &self.logs).await?;
        audit::write_all(self.connection, &self.audits).await?;
        self.touched.raise(self.connection).await?;
        self.reach.write(self.connection, now).await?;
        let numbers: Vec<_> =
            spools.iter().map(|((host_id, spool_id), seq)| (host_id, spool_id, integer(*seq))).collect();
        sqlx::query(
            "insert into spools (host_id, spool_id, committed_seq) select value->>0, value->>1, value->>2 \
             from json_each(?1) where true on conflict do update set committed_seq = excluded.committed_seq",
        )
        .bind(json("numbers", &numbers)?)
        .execute(self.connection)
        .await
        .doing("remember what was applied")?;
        Ok(())
    }
}

fn no_job(id: JobId) -> String {
    format!("job {id} is not there")
}

fn not_attached(id: RepoId) -> String {
    format!("the host is not attached to repository {id}")
}

async fn hosts_there(connection: &mut SqliteConnection, reports: &[Report]) -> Result<BTreeMap<HostId, ()>> {
    let asked: Vec<HostId> = reports.iter().map(|report| report.host_id).collect();
    let found = sqlx::query("select id from hosts where id in (select value from json_each(?1))")
        .bind(json("ids", &asked)?)
        .fetch_all(connection)
        .await
        .doing("look for hosts")?;
    found.iter().map(|row| Ok((Fields::new(row, "host", "id").parsed("id")?, ()))).collect()
}

/// The newest numbers applied of the spools of these reports.
async fn committed(
    connection: &mut SqliteConnection,
    reports: &[Report],
) -> Result<BTreeMap<(HostId, SpoolId), u64>> {
    let asked: Vec<_> = reports.iter().map(|report| (report.host_id, report.spool_id)).collect();
    let found = sqlx::query(
        "select s.* from json_each(?1) v join spools s on s.host_id = v.value->>0 and s.spool_id = v.value->>1",
    )
    .bind(json("ids", &asked)?)
    .fetch_all(connection)
    .await
    .doing("read what was applied before")?;
    let number = |row| {
        let fields = Fields::new(row, "spool", "spool_id");
        Ok(((fields.parsed("host_id")?, fields.parsed("spool_id")?), fields.number("committed_seq")?))
    };
    found.iter().map(number).collect()
}
