//! When something is due: cron text, time zone, and what happens when clocks are changed.
//!
//! # What is promised
//!
//! A **slot** is a civil minute (a minute on the wall clock of the zone) that matches the cron text, and the instant it
//! stands for. Slots are strictly increasing, they depend on the text and the zone only, and every part of the
//! product that computes them gets the same ones.
//!
//! *Vixie's rule.* When both day fields are restricted, either may match; a day field is restricted unless its text
//! begins with `*`. So `0 3 1 * mon` fires on every first and on every Monday, `0 3 * * mon` on Mondays only.
//!
//! *Clock changes.*
//!
//! - If the hour field covers all 24 hours, the schedule follows **elapsed time**: every real minute whose civil time
//!   matches fires, both passes of a repeated hour included, and nothing extra happens at a gap. `*/15 * * * *` is
//!   every quarter of an hour, whatever the wall clock does.
//! - Otherwise the schedule follows the **wall clock**: each matching civil minute fires exactly once. A repeated minute
//!   fires at its first pass. The minutes that a gap skips fire together, once, at the first instant after the gap,
//!   however long the gap is, and merged with a regular slot at that very instant. `30 2 * * *` in `Europe/Berlin` runs
//!   every single day of the year: at 03:00 on the day that has no 02:30, and once on the day that has two.
//!
//! # How
//!
//! A zone is a row of spans of constant offset. Within a span civil time is linear, so the search is one in the
//! civil calendar by bit masks, a month at a step. Every accepted text names a day of the 400-year cycle of the calendar
//! (the others are refused as [`CronError::NeverFires`]), and the search goes on until it is found or the calendar ends
//! with the year 9999.

mod cadence;
mod civil;
mod cron;
mod error;
mod field;
mod jitter;
mod search;
mod span;
mod zone;

pub use cadence::{Cadence, Due, due};
pub use cron::CronExpr;
pub use error::{CronError, CronField, FieldProblem};
pub use jitter::stable_jitter;
pub use search::Slots;
pub use zone::{Zone, ZoneError};
