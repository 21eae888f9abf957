//! Durations as Go prints them: `4.010586178s`, `1h6m41.3s`, `-59m58.6s`, `552.330144ms`.

/// Reads a duration in whole milliseconds, rounded towards zero.
///
/// `None` for anything that Go would not print, and for durations beyond the range of `i64`.
pub(super) fn parse_millis(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut millis = 0.0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        millis += number * unit_millis(&rest[..letters])?;
        rest = &rest[letters..];
    }
    // Half of the range is plenty (146 million years) and far from the edge where a float stops being exact.
    #[expect(clippy::cast_possible_truncation, reason = "checked against the range")]
    (millis < i64::MAX as f64 / 2.0).then_some((sign * millis) as i64)
}

fn unit_millis(unit: &str) -> Option<f64> {
    match unit {
        "h" => Some(3_600_000.0),
        "m" => Some(60_000.0),
        "s" => Some(1_000.0),
        "ms" => Some(1.0),
        "µs" | "μs" | "us" => Some(0.001),
        "ns" => Some(0.000_001),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse_millis;

    #[test]
    fn what_go_prints_is_read_in_milliseconds() {
        assert_eq!(parse_millis("4.010586178s"), Some(4_010));
        assert_eq!(parse_millis("1h6m41.3s"), Some(4_001_300));
        assert_eq!(parse_millis("-59m58.5s"), Some(-3_598_500));
        assert_eq!(parse_millis("552.330144ms"), Some(552));
        assert_eq!(parse_millis("12µs"), Some(0));
        assert_eq!(parse_millis("0s"), Some(0));
        assert_eq!(parse_millis("1500000ns"), Some(1));
    }

    #[test]
    fn what_go_does_not_print_is_no_duration() {
        for text in [
            "",
            "-",
            "5",
            "s",
            "5x",
            "1.2.3s",
            "h5",
            "9999999999999999999999h",
            "4611686018427387904ms",
            "5000000000000000000ms",
            "é",
            "5 s",
        ] {
            assert_eq!(parse_millis(text), None, "{text}");
        }
    }
}
