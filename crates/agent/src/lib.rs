//! The agent of restic-manager: runs restic on a host, keeps its schedules, and tells the server what really happened.
//!
//! The binary is a thin shell over this library. What an embedder uses:
//!
//! - [`enrolment::enrol`] makes a machine a host of the fleet by a token, [`announcing::announce`] by a person who approves it,
//!   [`agent::Agent`] is the agent at work until it is told to stop
//! - [`doctor::examine`] looks at everything an agent needs and says what is wrong
//! - [`job::run_job`] carries out one job with restic and reports it, without a server; [`restic::ResticFinder`] finds
//!   restic; [`process`] runs it so that it outlives its parent
//! - [`agent::JobRunner`] puts something else in restic's place
//!
//! And the parts below: [`session`] carries out what the pure link of the core decides, [`spool`] keeps what was said until the
//! server has it, [`ledger`] remembers which slots were taken, [`secrets`] holds credentials encrypted, [`state`] guards
//! the directory they all lie in.
//!
//! One thread is enough: the agent is made for a current-thread tokio runtime, and its small file writes block it.
//!
//! Without the feature `agent`, which is on by default, the crate is [`job`], [`process`] and [`restic`] alone: what runs restic well, and a fifth of the
//! dependencies.
//!
//! What it is not: no scheduler of a fleet, and no restic. It drives the restic that it finds, 0.14.0 or newer.
//!
//! ```no_run
//! # async fn run(order: restic_manager_agent::job::JobOrder) -> Result<(), Box<dyn std::error::Error>> {
//! use restic_manager_agent::job::run_job;
//! use tokio_util::sync::CancellationToken;
//!
//! let (out, mut messages) = tokio::sync::mpsc::channel(64);
//! let cancel = CancellationToken::new(); // cancel it, and restic is stopped gently
//! let job = tokio::spawn(run_job(order, out, cancel.clone()));
//! while let Some(message) = messages.recv().await {
//!     println!("{message:?}");
//! }
//! let end = job.await?;
//! println!("{:?}: {}", end.finished.state, end.finished.message);
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "agent")]
pub mod announcing;
mod clock;
#[cfg(feature = "agent")]
pub mod doctor;
#[cfg(feature = "agent")]
pub mod enrolment;
#[cfg(feature = "agent")]
mod http;
pub mod job;
mod journal;
#[cfg(feature = "agent")]
pub mod ledger;
pub mod process;
mod random;
pub mod restic;
#[cfg(feature = "agent")]
pub mod secrets;
#[cfg(feature = "agent")]
pub mod server_url;
#[cfg(feature = "agent")]
pub mod session;
#[cfg(feature = "agent")]
pub mod spool;
pub mod state;
