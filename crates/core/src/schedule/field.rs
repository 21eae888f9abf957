//! One field of a cron text as a set of bits.

use super::error::{CronError, CronField, FieldProblem, quoted};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Reads a lower-case field into a set: bit `n` stands for the value `n`; of a day of the week, bit 7 is folded into bit 0.
pub(super) fn parse(field: CronField, text: &str) -> Result<u64, CronError> {
    let mut bits = 0;
    for item in text.split(',') {
        bits |= parse_item(field, item).map_err(|problem| CronError::Field {
            field,
            text: quoted(if item.is_empty() { text } else { item }),
            problem,
        })?;
    }
    match field {
        CronField::DayOfWeek => Ok((bits | (bits >> 7)) & 0x7f),
        CronField::Minute | CronField::Hour | CronField::DayOfMonth | CronField::Month => Ok(bits),
    }
}

/// Least value, greatest value, and how many different ones there are.
const fn limits(field: CronField) -> (u8, u8, u8) {
    match field {
        CronField::Minute => (0, 59, 60),
        CronField::Hour => (0, 23, 24),
        CronField::DayOfMonth => (1, 31, 31),
        CronField::Month => (1, 12, 12),
        CronField::DayOfWeek => (0, 7, 7),
    }
}

fn parse_item(field: CronField, item: &str) -> Result<u64, FieldProblem> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(parse_step(field, step)?)),
        None => (item, None),
    };
    let (min, _, count) = limits(field);
    if range == "*" {
        return Ok(bits_of(min, min + count - 1, step.unwrap_or(1)));
    }
    let Some((start, end)) = range.split_once('-') else {
        return single(field, parse_value(field, range)?, step);
    };
    let start = parse_value(field, start)?;
    // `fri-sun` is what a person means, although Sunday by its name is day 0.
    let end = match (field, end) {
        (CronField::DayOfWeek, "sun") if start > 0 => 7,
        _ => parse_value(field, end)?,
    };
    if end < start {
        return Err(FieldProblem::Backwards);
    }
    Ok(bits_of(start, end, step.unwrap_or(1)))
}

fn single(field: CronField, value: u8, step: Option<u8>) -> Result<u64, FieldProblem> {
    let (_, max, _) = limits(field);
    match step {
        Some(step) => Err(FieldProblem::StepWithoutRange { start: value, max, step }),
        None => Ok(1 << value),
    }
}

fn parse_step(field: CronField, text: &str) -> Result<u8, FieldProblem> {
    let (_, _, max) = limits(field);
    match parse_number(text) {
        None | Some(Err(TooBig)) => Err(FieldProblem::BadStep { max }),
        Some(Ok(0)) => Err(FieldProblem::ZeroStep { max }),
        Some(Ok(step)) if step > max => Err(FieldProblem::BadStep { max }),
        Some(Ok(step)) => Ok(step),
    }
}

fn parse_value(field: CronField, text: &str) -> Result<u8, FieldProblem> {
    if text.is_empty() {
        return Err(FieldProblem::Empty);
    }
    if let Some(value) = parse_name(field, text) {
        return Ok(value);
    }
    let (min, max, _) = limits(field);
    match parse_number(text) {
        None => Err(FieldProblem::NotUnderstood),
        Some(Ok(value)) if (min..=max).contains(&value) => Ok(value),
        Some(Ok(_) | Err(TooBig)) => Err(FieldProblem::OutOfRange),
    }
}

fn parse_name(field: CronField, text: &str) -> Option<u8> {
    let (names, first): (&[&str], u8) = match field {
        CronField::Month => (&MONTHS, 1),
        CronField::DayOfWeek => (&WEEKDAYS, 0),
        CronField::Minute | CronField::Hour | CronField::DayOfMonth => return None,
    };
    (first..).zip(names).find_map(|(value, name)| (*name == text).then_some(value))
}

/// A row of digits beyond 255.
struct TooBig;

/// `None` for anything but digits: a sign is no part of a cron text.
fn parse_number(text: &str) -> Option<Result<u8, TooBig>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().map_err(|_| TooBig))
}

fn bits_of(start: u8, end: u8, step: u8) -> u64 {
    (start..=end).step_by(usize::from(step)).fold(0, |bits, value| bits | (1 << value))
}
