//! The judge: compares the rows of the store with what really happened. It shares no code with what it judges.

mod exclusion;
mod facts;
mod jobs;
mod maintenance;
mod runs;
mod slots;

use crate::history::Counts;
use crate::world::World;
use facts::Facts;

/// All that is wrong with a history.
pub fn judge(world: &World, counts: &mut Counts) -> Vec<String> {
    let facts = Facts::read(world);
    let mut wrong = world.fabric.history.wrong.clone();
    runs::judge(&facts, counts, &mut wrong);
    jobs::judge(&facts, &mut wrong);
    slots::judge(&facts, counts, &mut wrong);
    exclusion::judge(&facts, &mut wrong);
    maintenance::judge(&facts, &mut wrong);
    wrong
}
