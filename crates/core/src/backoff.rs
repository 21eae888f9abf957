//! How long to wait before trying again.
//!
//! Randomness is an argument: `jitter` is in thousandths, 0 to 1000, drawn by the shell; more counts as 1000.

use crate::time::{MINUTE, SECOND};

/// The longest wait between attempts before jitter is added, in milliseconds.
pub const DELAY_CAP: u64 = 30 * MINUTE as u64;
/// The longest wait before a reconnect, in milliseconds.
pub const RECONNECT_CAP: u64 = 60 * SECOND as u64;
/// The shortest wait before a reconnect, in milliseconds: even the luckiest draw leaves the peer a breath.
pub const RECONNECT_FLOOR: u64 = 250;

const FULL_JITTER: u64 = 1_000;

/// The wait after failed attempt number `attempt` (1 is the first), in milliseconds.
///
/// `base_seconds` after the first failure, doubled by each further one, capped at [`DELAY_CAP`]. Then jitter adds up to a
/// quarter, also to a capped wait, and never takes away. A base of 0 counts as 1 second and an attempt of 0 as 1, so
/// that no input makes a busy loop.
pub fn delay(base_seconds: u32, attempt: u32, jitter: u32) -> u64 {
    let base = u64::from(base_seconds.max(1)) * SECOND as u64;
    let wait = doubled(base, attempt.max(1) - 1).min(DELAY_CAP);
    wait + wait / 4 * permille(jitter) / FULL_JITTER
}

/// The wait before reconnect number `attempt` (0 is the first after a loss), in milliseconds.
///
/// Full jitter: anything from 0 to 1 second times 2 to the power of `attempt`, at most [`RECONNECT_CAP`], but not less than
/// [`RECONNECT_FLOOR`]. A fleet that lost its server all at once comes back spread out.
pub fn reconnect_delay(attempt: u32, jitter: u32) -> u64 {
    let ceiling = doubled(SECOND as u64, attempt).min(RECONNECT_CAP);
    (ceiling * permille(jitter) / FULL_JITTER).max(RECONNECT_FLOOR)
}

/// `base` doubled `times` times; saturates.
fn doubled(base: u64, times: u32) -> u64 {
    2_u64.checked_pow(times).map_or(u64::MAX, |factor| base.saturating_mul(factor))
}

fn permille(jitter: u32) -> u64 {
    u64::from(jitter).min(FULL_JITTER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_half_an_hour() {
        let seconds: Vec<u64> = (1..=8).map(|attempt| delay(60, attempt, 0) / 1_000).collect();
        assert_eq!(seconds, [60, 120, 240, 480, 960, 1_800, 1_800, 1_800]);
    }

    #[test]
    fn jitter_adds_up_to_a_quarter_even_to_a_capped_wait() {
        assert_eq!(
            [0, 500, 1_000, 1_001].map(|jitter| delay(60, 1, jitter)),
            [60_000, 67_500, 75_000, 75_000]
        );
        assert_eq!(delay(60, 100, 1_000), 37 * 60_000 + 30_000);
    }

    #[test]
    fn nothing_makes_a_busy_loop() {
        assert_eq!(delay(0, 0, 0), 1_000);
        assert_eq!(reconnect_delay(0, 0), 250);
    }

    #[test]
    fn reconnects_spread_over_a_growing_stretch_of_at_most_a_minute() {
        let longest: Vec<u64> = (0..8).map(|attempt| reconnect_delay(attempt, 1_000) / 1_000).collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(reconnect_delay(6, 500), 30_000);
    }

    proptest! {
        #[test]
        fn a_wait_is_total_bounded_and_never_shortened_by_jitter(
            base in any::<u32>(), attempt in any::<u32>(), jitter in any::<u32>(),
        ) {
            let plain = delay(base, attempt, 0);
            let wait = delay(base, attempt, jitter);
            prop_assert!((1_000..=1_800_000).contains(&plain));
            prop_assert!((plain..=plain + plain / 4).contains(&wait));
        }

        #[test]
        fn a_wait_grows_with_each_argument(base in 0..10_000_u32, attempt in 0..80_u32, jitter in 0..1_000_u32) {
            let wait = delay(base, attempt, jitter);
            prop_assert!(delay(base + 1, attempt, jitter) >= wait);
            prop_assert!(delay(base, attempt + 1, jitter) >= wait);
            prop_assert!(delay(base, attempt, jitter + 1) >= wait);
        }

        #[test]
        fn a_reconnect_is_between_its_floor_and_its_ceiling(attempt in any::<u32>(), jitter in any::<u32>()) {
            let ceiling = if attempt >= 6 { 60_000 } else { 1_000 << attempt };
            let wait = reconnect_delay(attempt, jitter);
            prop_assert!((250..=ceiling).contains(&wait));
            prop_assert!(reconnect_delay(attempt, 1_000) == ceiling);
        }
    }
}
