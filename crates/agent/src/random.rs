//! Randomness and its text form.

/// Random bytes of the operating system.
///
/// # Panics
///
/// When the operating system has none to give: nothing safe can be done without.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A draw between 0 and 1000, both included.
#[cfg(feature = "agent")]
pub(crate) fn permille() -> u32 {
    u32::from(u16::from_le_bytes(bytes())) * 1000 / u32::from(u16::MAX)
}

/// Bytes as lowercase hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        text
    })
}
