//! How often somebody may try to log in: by address and by name.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use restic_manager_core::text::LoginName;

const PER_MINUTE_BY_ADDRESS: NonZeroU32 = NonZeroU32::new(30).expect("not zero");
/// Announcements: each may cost a row that a person has to look at.
const ANNOUNCEMENTS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
const PER_MINUTE_BY_NAME: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
const BURST_BY_NAME: NonZeroU32 = NonZeroU32::new(5).expect("not zero");

type Limiter<C> = RateLimiter<u16, DashMapStateStore<u16>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Too many attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; try again in {seconds} s")]
pub struct TooMany {
    /// How many whole seconds to wait, at least 1; goes into `Retry-After`.
    pub seconds: u64,
}

/// Counts login attempts: 30 a minute by address, 10 a minute by name in bursts of 5; and announcements of agents: 10 a minute by
/// address.
///
/// Addresses and names fall into 65,536 buckets each, by a hash that nobody outside can predict: whatever is sent, the
/// memory is bounded, and nobody can choose whom to share a bucket with. An IPv6 address counts with its whole /64, which
/// is what one subscriber has.
#[derive(Debug)]
pub struct LoginLimits<C: Clock = DefaultClock> {
    by_address: Limiter<C>,
    by_name: Limiter<C>,
    announcements: Limiter<C>,
    hasher: RandomState,
    clock: C,
}

impl LoginLimits {
    /// Starts with nothing counted.
    pub fn new() -> Self {
        Self::with_clock(DefaultClock::default())
    }
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Clock + Clone> LoginLimits<C> {
    /// Starts with nothing counted, on another clock.
    pub fn with_clock(clock: C) -> Self {
        let by_name = Quota::per_minute(PER_MINUTE_BY_NAME).allow_burst(BURST_BY_NAME);
        Self {
            by_address: RateLimiter::dashmap_with_clock(
                Quota::per_minute(PER_MINUTE_BY_ADDRESS),
                clock.clone(),
            ),
            by_name: RateLimiter::dashmap_with_clock(by_name, clock.clone()),
            announcements: RateLimiter::dashmap_with_clock(
                Quota::per_minute(ANNOUNCEMENTS_PER_MINUTE),
                clock.clone(),
            ),
            hasher: RandomState::new(),
            clock,
        }
    }

    /// Counts an attempt, or refuses it. What the address may not do is not held against the name.
    ///
    /// # Errors
    ///
    /// [`TooMany`] with the time to wait.
    pub fn attempt(&self, address: IpAddr, name: &LoginName) -> Result<(), TooMany> {
        self.address(address)?;
        self.check(&self.by_name, self.bucket(&name.as_str().to_ascii_lowercase()))
    }

    /// Counts an attempt that has no name: a bootstrap or enrolment token.
    ///
    /// # Errors
    ///
    /// [`TooMany`] with the time to wait.
    pub fn address(&self, address: IpAddr) -> Result<(), TooMany> {
        self.check(&self.by_address, self.bucket(&subscriber(address)))
    }

    /// Counts an announcement of an agent.
    ///
    /// # Errors
    ///
    /// [`TooMany`] with the time to wait.
    pub fn announcement(&self, address: IpAddr) -> Result<(), TooMany> {
        self.check(&self.announcements, self.bucket(&subscriber(address)))
    }

    fn check(&self, limiter: &Limiter<C>, bucket: u16) -> Result<(), TooMany> {
        limiter.check_key(&bucket).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            TooMany { seconds: wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1) }
        })
    }

    fn bucket(&self, key: &impl std::hash::Hash) -> u16 {
        // The low 16 bits are as good as any others of SipHash.
        (self.hasher.hash_one(key) & 0xffff) as u16
    }
}

/// The part of an address that belongs to one subscriber.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn name(text: &str) -> LoginName {
        LoginName::new(text).unwrap()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_name_has_five_attempts_at_once_and_then_one_every_six_seconds() {
        let clock = FakeRelativeClock::default();
        let limits = LoginLimits::with_clock(clock.clone());
        for last in 1..=5 {
            limits.attempt(address(last), &name("admin")).unwrap();
        }
        assert_eq!(limits.attempt(address(6), &name("Admin")), Err(TooMany { seconds: 6 }));
        clock.advance(Duration::from_millis(5_500));
        assert_eq!(limits.attempt(address(7), &name("admin")), Err(TooMany { seconds: 1 }));
        clock.advance(Duration::from_millis(500));
        limits.attempt(address(8), &name("admin")).unwrap();
        assert!(limits.attempt(address(9), &name("admin")).is_err());
    }

    #[test]
    fn an_address_has_thirty_attempts_and_its_refusals_do_not_count_against_the_name() {
        let clock = FakeRelativeClock::default();
        let limits = LoginLimits::with_clock(clock.clone());
        for _ in 0..30 {
            limits.address(address(1)).unwrap();
        }
        for _ in 0..10 {
            assert_eq!(limits.attempt(address(1), &name("admin")), Err(TooMany { seconds: 2 }));
        }
        limits.attempt(address(2), &name("admin")).unwrap();
    }

    #[test]
    fn an_address_has_ten_announcements_and_then_one_every_six_seconds() {
        let clock = FakeRelativeClock::default();
        let limits = LoginLimits::with_clock(clock.clone());
        for _ in 0..10 {
            limits.announcement(address(1)).unwrap();
        }
        assert_eq!(limits.announcement(address(1)), Err(TooMany { seconds: 6 }));
        limits.announcement(address(2)).unwrap();
        limits.address(address(1)).unwrap();
        clock.advance(Duration::from_secs(6));
        limits.announcement(address(1)).unwrap();
        assert!(limits.announcement(address(1)).is_err());
    }

    #[test]
    fn an_ipv6_subscriber_is_one_address() {
        let same = |a: &str, b: &str| subscriber(a.parse().unwrap()) == subscriber(b.parse().unwrap());
        assert!(same("2001:db8:1:2:3::4", "2001:db8:1:2:ffff::"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
    }

    #[test]
    fn however_many_names_take_no_more_room_than_the_buckets() {
        let limits = LoginLimits::with_clock(FakeRelativeClock::default());
        for number in 0..300_000u32 {
            let _counted = limits.check(&limits.by_name, limits.bucket(&number));
        }
        assert!(limits.by_name.len() <= 65_536 && limits.by_name.len() > 60_000, "{}", limits.by_name.len());
    }
}
