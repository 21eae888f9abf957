//! Plays histories by their seeds and says which went wrong.

use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;

use restic_manager_sim::history::Counts;
use restic_manager_sim::judge;

const USAGE: &str = "usage: restic-manager-sim --seeds FROM..TO | --seed N [--trace]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let played = match words.as_slice() {
        ["--seeds", range] => range_of(range).map(many),
        ["--seed", seed] => seed.parse().ok().map(|seed| many(seed..seed + 1)),
        ["--seed", seed, "--trace"] => seed.parse().ok().map(traced),
        _other => None,
    };
    match played {
        Some(Ok(0)) => ExitCode::SUCCESS,
        Some(Ok(_)) => ExitCode::FAILURE,
        Some(Err(_)) => ExitCode::from(3),
        None => {
            let _ = writeln!(io::stderr(), "{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn range_of(text: &str) -> Option<Range<u64>> {
    let (from, to) = text.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}

fn many(seeds: Range<u64>) -> io::Result<usize> {
    let mut out = io::stdout().lock();
    let (mut bad, mut sum) = (0, Counts::default());
    for seed in seeds.clone() {
        let verdict = judge(seed, false);
        sum.add(&verdict.counts);
        if !verdict.wrong.is_empty() {
            bad += 1;
            writeln!(out, "{}", judge(seed, true))?;
        }
    }
    writeln!(out, "seeds {}..{}: {bad} went wrong; {sum}", seeds.start, seeds.end)?;
    Ok(bad)
}

fn traced(seed: u64) -> io::Result<usize> {
    let verdict = judge(seed, true);
    let mut out = io::stdout().lock();
    for line in &verdict.trace {
        writeln!(out, "{line}")?;
    }
    for wrong in &verdict.wrong {
        writeln!(out, "wrong: {wrong}")?;
    }
    writeln!(out, "seed {seed}: {} things are wrong; {}", verdict.wrong.len(), verdict.counts)?;
    Ok(verdict.wrong.len())
}
