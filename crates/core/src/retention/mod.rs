//! What a source group keeps, in restic's terms, and what that means for the snapshots there are.
//!
//! [`KeepPolicy`] is the policy and gives the arguments of `restic forget`. [`preview`] is what restic would do with it, with a reason for
//! every snapshot and without restic: a test holds it against `restic forget --dry-run --json`.
//!
//! ```
//! use restic_manager_core::restic::{Version, parse_snapshots};
//! use restic_manager_core::retention::{KeepPolicy, Machine, preview};
//! use restic_manager_core::schedule::Zone;
//! use restic_manager_core::time::Timestamp;
//!
//! # let snapshots: Vec<String> = (1..=3).map(|day| {
//! #     let id = day.to_string().repeat(64);
//! #     format!(r#"{{"time":"2026-11-2{day}T04:00:00Z","id":"{id}","short_id":"{}"}}"#, &id[..8])
//! # }).collect();
//! # let json = format!("[{}]", snapshots.join(","));
//! let keep: KeepPolicy = serde_json::from_str(r#"{"daily": 2}"#)?;
//! let snapshots = parse_snapshots(&json)?; // what `restic snapshots --json --host H --tag T` printed
//! let machine = Machine { restic: Version::new(0, 19, 1), zone: Zone::UTC };
//! let verdicts = preview(&keep, &snapshots, &machine, Timestamp::from_millis(1_795_500_000_000));
//! let told: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
//! assert_eq!(told, [
//!     "33333333 of 2026-11-23T04:00:00+00:00 stays: daily snapshot",
//!     "22222222 of 2026-11-22T04:00:00+00:00 stays: daily snapshot",
//!     "11111111 of 2026-11-21T04:00:00+00:00 goes",
//! ]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod policy;
mod preview;

pub use policy::{KeepError, KeepPolicy, KeepWithin};
pub use preview::{KeptBy, Machine, Rule, Verdict, preview};
