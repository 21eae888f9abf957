//! Two hundred histories, the same ones every time.

use restic_manager_sim::history::Counts;
use restic_manager_sim::judge;

fn play(seeds: std::ops::Range<u64>) {
    let mut sum = Counts::default();
    for seed in seeds {
        let verdict = judge(seed, false);
        assert!(verdict.wrong.is_empty(), "{}", judge(seed, true));
        sum.add(&verdict.counts);
    }
    // A history in which nothing happens proves nothing.
    assert!(sum.server_crashes > 100 && sum.agent_crashes > 100, "{sum}");
    assert!(sum.own > 100 && sum.missed > 100 && sum.processes > 10_000, "{sum}");
}

#[test]
fn seeds_0_to_49_lose_nothing_and_run_nothing_twice() {
    play(0..50);
}

#[test]
fn seeds_50_to_99_lose_nothing_and_run_nothing_twice() {
    play(50..100);
}

#[test]
fn seeds_100_to_149_lose_nothing_and_run_nothing_twice() {
    play(100..150);
}

#[test]
fn seeds_150_to_199_lose_nothing_and_run_nothing_twice() {
    play(150..200);
}

#[test]
fn a_seed_repeats_its_history() {
    let (one, two) = (judge(8, true), judge(8, true));
    assert!(one.trace.len() > 100);
    assert_eq!(one.trace, two.trace);
}
