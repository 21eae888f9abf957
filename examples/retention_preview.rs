//! What `restic forget` would do to the snapshots on standard input, with a reason for each. Restic is not needed.
//!
//! ```text
//! restic snapshots --json --host web1 --tag home |
//!     cargo run -p restic-manager-examples --example retention_preview -- '{"daily": 7, "weekly": 4}' Europe/Berlin
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::io::Read as _;
use std::time::SystemTime;

use restic_manager_core::humane;
use restic_manager_core::restic::{Version, parse_snapshots};
use restic_manager_core::retention::{KeepPolicy, Machine, preview};
use restic_manager_core::time::Timestamp;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let policy = arguments.next().ok_or("give a policy, such as {\"daily\": 7}")?;
    let keep: KeepPolicy = serde_json::from_str(&policy)?;
    let machine = Machine {
        restic: Version::new(0, 19, 1),
        zone: arguments.next().as_deref().unwrap_or("UTC").parse()?,
    };
    let mut json = String::new();
    std::io::stdin().read_to_string(&mut json)?;
    let snapshots = parse_snapshots(&json)?;
    let now = Timestamp::from(SystemTime::now());

    println!("{keep}, on a machine in {}", machine.zone);
    let verdicts = preview(&keep, &snapshots, &machine, now);
    for verdict in &verdicts {
        println!("  {verdict}");
    }
    let going = verdicts.iter().filter(|verdict| verdict.goes()).count() as u64;
    println!("{} of {} would go", humane::count(going, "snapshot"), verdicts.len());
    match keep.to_args() {
        none if none.is_empty() => println!("restic must not run forget with this policy"),
        args => println!("restic forget --group-by host {}", args.join(" ")),
    }
    Ok(())
}
