//! What `prune` says. It is text in every release; sizes are rounded to three decimals of their unit.

/// What a prune removes and leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Bytes in packs that are removed whole.
    pub to_delete: Option<u64>,
    /// Bytes removed in all, by deleting and by repacking.
    pub total_prune: Option<u64>,
    /// Bytes that lie in the repository afterwards.
    pub remaining: Option<u64>,
    /// Bytes among these that no snapshot needs.
    pub unused_after: Option<u64>,
    /// Whether restic said `done`; a dry run does not.
    pub finished: bool,
}

/// Reads the standard output of `prune`. Absent lines (`--quiet`, an early end) leave their field empty.
pub fn parse_prune(stdout: &str) -> PruneReport {
    let mut report = PruneReport::default();
    for line in stdout.lines().map(str::trim) {
        if line == "done" {
            report.finished = true;
        }
        let Some((label, value)) = line.split_once(':') else { continue };
        match label {
            "to delete" => report.to_delete = size_after_blobs(value),
            "total prune" => report.total_prune = size_after_blobs(value),
            "remaining" => report.remaining = size_after_blobs(value),
            "unused size after prune" => report.unused_after = size(value),
            _ => {}
        }
    }
    report
}

fn size_after_blobs(value: &str) -> Option<u64> {
    size(value.split_once(" / ")?.1)
}

fn size(value: &str) -> Option<u64> {
    let mut words = value.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    let unit: f64 = match words.next()? {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        "TiB" => 1_099_511_627_776.0,
        "PiB" => 1_125_899_906_842_624.0,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked against the range")]
    (0.0..9e18).contains(&(number * unit)).then_some((number * unit).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_bytes() {
        let text = "to repack:            60 blobs / 8.588 MiB\nto delete:             6 blobs / 4.355 KiB\n\
                    total prune:          36 blobs / 4.297 MiB\nremaining:            36 blobs / 1.500 GiB\n\
                    unused size after prune: 12 B (0.00% of remaining size)\n\ndone\n";
        let report = parse_prune(text);
        assert_eq!(report.to_delete, Some(4460));
        assert_eq!(report.total_prune, Some(4_505_731));
        assert_eq!(report.remaining, Some(1_610_612_736));
        assert_eq!(report.unused_after, Some(12));
        assert!(report.finished);
    }

    #[test]
    fn what_is_not_said_is_not_known() {
        assert_eq!(parse_prune(""), PruneReport::default());
        let odd = "remaining: 5 blobs\nto delete: 1 blobs / -3 B\ntotal prune: 1 blobs / 9 XiB\nremaining:";
        assert_eq!(parse_prune(odd), PruneReport::default());
    }
}
