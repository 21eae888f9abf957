//! A repository that many hosts cannot reach: one tries, the others wait and say so.

use restic_manager_core::id::{GroupId, JobId, SpoolId};
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::MINUTE;
use restic_manager_core::wire::*;
use restic_manager_server::clock::Clock;

use crate::house::{finished, started};
use crate::world::{World, schedule};

struct Other {
    host: Host,
    spool: SpoolId,
    schedule: restic_manager_core::id::ScheduleId,
    seq: u64,
}

impl Other {
    async fn new(world: &World, n: u8) -> Self {
        let house = &world.house;
        let host = house.host(&format!("other{n}")).await;
        let spool = SpoolId::mint(house.clock.now(), [n; 10]);
        house.connect(&host, &house.hello(&host, spool)).await;
        house.attach(&host, world.repo, Role::Primary).await;
        let group: GroupId = house.group(&host, "home").await;
        let schedule = schedule(house, &host, "nightly", vec![group]).await;
        Self { host, spool, schedule, seq: 0 }
    }

    async fn says(&mut self, world: &World, message: AgentMessage) {
        self.seq += 1;
        world.house.report(&self.host, self.spool, self.seq, vec![message]).await;
    }

    async fn fires(&mut self, world: &World) {
        let fire = ScheduleFire { schedule_id: self.schedule, slot: world.slot(), missed: 0 };
        self.says(world, AgentMessage::ScheduleFire(fire)).await;
    }

    async fn ends(&mut self, world: &World, job_id: JobId, class: OutcomeClass) {
        let state = if class == OutcomeClass::Ok { FinalState::Succeeded } else { FinalState::Failed };
        let AgentMessage::JobFinished(mut end) = finished(job_id, state) else { unreachable!() };
        end.class = class;
        self.says(world, started(job_id)).await;
        self.says(world, AgentMessage::JobFinished(end)).await;
    }
}

async fn owner<'a>(world: &World, others: &'a mut [Other], job: JobId) -> &'a mut Other {
    let host_id = world.house.store.job(job).await.unwrap().unwrap().job.host_id;
    others.iter_mut().find(|other| other.host.id == host_id).unwrap()
}

/// Sends what may go.
async fn sent(world: &World) -> Vec<JobId> {
    world.house.engine.tick().await.unwrap();
    world.house.take_commands().into_iter().map(|command| command.job_id).collect()
}

#[tokio::test]
async fn three_hosts_out_of_reach_open_the_breaker_and_the_first_that_gets_through_closes_it() {
    let world = World::new().await;
    let mut others = Vec::new();
    for n in 1..=4 {
        others.push(Other::new(&world, n).await);
    }
    // Whatever the attachments asked for is over first.
    loop {
        let jobs = sent(&world).await;
        if jobs.is_empty() {
            break;
        }
        for job in jobs {
            owner(&world, &mut others, job).await.ends(&world, job, OutcomeClass::Ok).await;
        }
    }
    for other in &mut others[..3] {
        other.fires(&world).await;
    }
    let jobs = sent(&world).await;
    assert_eq!(jobs.len(), 3, "shared jobs overlap");
    for job in jobs {
        owner(&world, &mut others, job).await.ends(&world, job, OutcomeClass::Unreachable).await;
    }
    assert_eq!(world.house.store.admission_view().await.unwrap().breakers.len(), 1);
    world.house.clock.advance(60 * MINUTE);
    for other in &mut others {
        other.fires(&world).await;
    }
    let trying = sent(&world).await;
    assert_eq!(trying.len(), 1, "one tries");
    let queued = world.house.store.admission_view().await.unwrap().queued;
    assert_eq!(queued.len(), 3);
    for waiting in &queued {
        assert_eq!(world.house.engine.hold(waiting.job.id), Some(Hold::BreakerOpen));
        let view = world.house.app.job(waiting.job.id).await.unwrap();
        assert!(view.hold_sentence.unwrap().contains("unreachable for many hosts"));
    }
    owner(&world, &mut others, trying[0]).await.ends(&world, trying[0], OutcomeClass::Ok).await;
    assert!(world.house.store.admission_view().await.unwrap().breakers.is_empty());
    assert_eq!(sent(&world).await.len(), 3, "the others follow");
}
