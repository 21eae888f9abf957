//! A delay that spreads a fleet and stays the same for each member.

/// A delay between 0 and `spread_ms` (both included) that depends on `id` alone, in milliseconds.
///
/// The same id and spread give the same delay in every version and on every machine: FNV-1a of 64 bits over the id's
/// bytes, mixed by the finaliser of SplitMix64 (FNV leaves the high bits of short, similar ids alike), and scaled by the
/// high half of the product. Distinct ids are spread evenly; it is no secret and no cryptography.
pub fn stable_jitter(id: &str, spread_ms: u64) -> u64 {
    let scaled = u128::from(mixed(fnv1a(id))) * (u128::from(spread_ms) + 1);
    (scaled >> 64) as u64
}

/// Fowler, Noll and Vo's hash: draft-eastlake-fnv, the parameters for 64 bits.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators".
const fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // Test vectors of the FNV draft.
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_mixer_is_the_published_one() {
        // The first numbers of SplitMix64 from the seed 1234567.
        let seed = |n: u64| 1_234_567_u64.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let numbers = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([1, 2, 3].map(|n| mixed(seed(n))), numbers);
    }

    #[test]
    fn delays_never_change_between_versions() {
        let hour = 3_600_000;
        let delays: Vec<u64> =
            ["", "a", "0198d3b2-7a10-7c3e-8e5f-000000000001"].map(|id| stable_jitter(id, hour)).to_vec();
        insta::assert_json_snapshot!(delays);
    }

    #[test]
    fn a_fleet_is_spread_evenly() {
        let mut buckets = [0_u32; 10];
        for n in 0..10_000 {
            buckets[stable_jitter(&format!("host-{n}"), 9) as usize] += 1;
        }
        assert!(buckets.iter().all(|&hosts| (850..1_150).contains(&hosts)), "{buckets:?}");
    }

    proptest! {
        #[test]
        fn a_delay_is_within_the_spread(id in ".{0,40}", spread in any::<u64>()) {
            prop_assert!(stable_jitter(&id, spread) <= spread);
            prop_assert_eq!(stable_jitter(&id, 0), 0);
        }
    }
}
