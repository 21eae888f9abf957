//! The envelope: from text to message and back.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::wire::{AgentMessage, PROTOCOL, ServerMessage};

/// The largest frame either side accepts, in bytes: 4 MiB.
pub const MAX_FRAME_BYTES: usize = 4 << 20;

/// A message with its number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Frame<M> {
    /// The protocol it is written in.
    pub v: u16,
    /// Its number, when it is reliable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The number of the reliable message that was sent last before this frame on the same connection; none where there was none,
    /// and from a sender that does not say.
    ///
    /// Numbers may be missing, so this is how a receiver tells a message that was lost or overtaken from one that was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// The message.
    #[serde(flatten)]
    pub message: M,
}

impl<M: Serialize> Frame<M> {
    /// A message that may get lost.
    pub const fn lossy(message: M) -> Self {
        Self { v: PROTOCOL, seq: None, after: None, message }
    }

    /// A reliable message.
    pub const fn reliable(seq: u64, message: M) -> Self {
        Self { v: PROTOCOL, seq: Some(seq), after: None, message }
    }

    /// The same frame, which names the reliable message sent before it on its connection.
    #[must_use]
    pub fn following(self, after: Option<u64>) -> Self {
        Self { after, ..self }
    }

    /// The frame as text.
    pub fn to_text(&self) -> String {
        // Our messages hold no map with keys that are not strings and no failing Serialize.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The text of a frame that names the reliable message sent before it: [`Frame::following`] for a frame that is kept as text.
pub fn following(mut text: String, after: Option<u64>) -> String {
    if let Some(after) = after
        && text.starts_with('{')
    {
        text.insert_str(1, &format!("\"after\":{after},"));
    }
    text
}

/// What a text turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded<M> {
    /// A message.
    Message(Frame<M>),
    /// A type this build does not know: to be logged and ignored; a `seq` is still to be acknowledged.
    Unknown {
        /// The type.
        kind: String,
        /// Its number, when it is reliable.
        seq: Option<u64>,
        /// As in [`Frame::after`].
        after: Option<u64>,
    },
}

/// A text that is no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`MAX_FRAME_BYTES`].
    #[error("the frame has {bytes} bytes; at most {MAX_FRAME_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON, or without `v` and `type`.
    #[error("the frame is no JSON object with `v` and `type`: {0}")]
    NotJson(String),
    /// A known type whose payload has the wrong shape.
    #[error("the payload of `{kind}` is wrong: {why}")]
    Payload {
        /// The type.
        kind: String,
        /// Its number, so that it can be rejected instead of coming back for ever.
        seq: Option<u64>,
        /// As in [`Frame::after`].
        after: Option<u64>,
        /// What is wrong.
        why: String,
    },
}

#[derive(Deserialize)]
struct RawFrame<'a> {
    v: u16,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    after: Option<u64>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

const AGENT_TYPES: &[&str] = &[
    "hello",
    "heartbeat",
    "schedule.fire",
    "schedule.ack",
    "job.refused",
    "job.started",
    "job.progress",
    "log.stream",
    "log.gap",
    "repo.stats",
    "snapshots.report",
    "job.finished",
];

const SERVER_TYPES: &[&str] =
    &["welcome", "ack", "config.update", "schedule.set", "command.run", "command.cancel", "error"];

fn decode<M: DeserializeOwned>(text: &str, types: &[&str]) -> Result<Decoded<M>, FrameError> {
    if text.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong { bytes: text.len() });
    }
    // Read as a list of its fields an array would do as well.
    if !text.trim_start().starts_with('{') {
        return Err(FrameError::NotJson("it is no object".to_owned()));
    }
    let raw: RawFrame<'_> =
        serde_json::from_str(text).map_err(|error| FrameError::NotJson(error.to_string()))?;
    if !types.contains(&raw.kind.as_str()) {
        return Ok(Decoded::Unknown { kind: raw.kind, seq: raw.seq, after: raw.after });
    }
    #[derive(Serialize)]
    struct Tagged<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a RawValue>,
    }
    // `type` first, so that the payload is read straight into its message without an intermediate value.
    let wrong = |why: serde_json::Error| FrameError::Payload {
        kind: raw.kind.clone(),
        seq: raw.seq,
        after: raw.after,
        why: why.to_string(),
    };
    let tagged = serde_json::to_string(&Tagged { kind: &raw.kind, payload: raw.payload }).map_err(wrong)?;
    let message = serde_json::from_str(&tagged).map_err(wrong)?;
    Ok(Decoded::Message(Frame { v: raw.v, seq: raw.seq, after: raw.after, message }))
}

/// Reads a frame that an agent sent.
///
/// # Errors
///
/// A [`FrameError`] that names what is wrong; never panics.
pub fn decode_agent(text: &str) -> Result<Decoded<AgentMessage>, FrameError> {
    decode(text, AGENT_TYPES)
}

/// Reads a frame that the server sent.
///
/// # Errors
///
/// A [`FrameError`] that names what is wrong; never panics.
pub fn decode_server(text: &str) -> Result<Decoded<ServerMessage>, FrameError> {
    decode(text, SERVER_TYPES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::wire::Heartbeat;

    #[test]
    fn a_frame_survives_its_text() {
        let frame = Frame::lossy(AgentMessage::Heartbeat(Heartbeat { clock: Timestamp::from_millis(7) }));
        let text = frame.to_text();
        assert_eq!(text, r#"{"v":1,"type":"heartbeat","payload":{"clock":7}}"#);
        assert_eq!(decode_agent(&text).unwrap(), Decoded::Message(frame));
    }

    #[test]
    fn a_kept_text_names_the_message_before_it_as_its_frame_would() {
        let beat = || AgentMessage::Heartbeat(Heartbeat { clock: Timestamp::from_millis(7) });
        let text = following(Frame::reliable(9, beat()).to_text(), Some(4));
        assert_eq!(
            decode_agent(&text).unwrap(),
            Decoded::Message(Frame::reliable(9, beat()).following(Some(4)))
        );
        let first = Frame::reliable(9, beat()).to_text();
        assert_eq!(following(first.clone(), None), first);
    }

    #[test]
    fn an_unknown_type_is_no_error_and_keeps_its_number() {
        let decoded = decode_agent(r#"{"v":9,"type":"moon.phase","seq":4,"payload":{"x":[1]}}"#).unwrap();
        assert_eq!(decoded, Decoded::Unknown { kind: "moon.phase".into(), seq: Some(4), after: None });
    }

    #[test]
    fn a_wrong_payload_names_the_type_and_the_field() {
        let error = decode_agent(r#"{"v":1,"type":"heartbeat","seq":3,"payload":{}}"#).unwrap_err();
        assert!(
            matches!(&error, FrameError::Payload { kind, seq: Some(3), why, .. }
            if kind == "heartbeat" && why.contains("clock")),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_frame_is_said_so() {
        assert!(matches!(decode_agent("hello"), Err(FrameError::NotJson(_))));
        assert!(matches!(decode_agent("{}"), Err(FrameError::NotJson(_))));
        let list = r#"[1,"heartbeat",null,{"clock":7}]"#;
        assert!(
            matches!(decode_agent(list), Err(FrameError::NotJson(_))),
            "a list of the fields is no frame"
        );
        let long = "x".repeat(MAX_FRAME_BYTES + 1);
        assert!(matches!(decode_agent(&long), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn a_frame_of_the_greatest_length_is_read_and_one_byte_more_is_too_much() {
        let beat = r#"{"v":1,"type":"heartbeat","payload":{"clock":7}}"#;
        let longest = format!("{beat}{}", " ".repeat(MAX_FRAME_BYTES - beat.len()));
        assert!(matches!(decode_agent(&longest), Ok(Decoded::Message(_))));
        let error = decode_agent(&format!("{longest} ")).unwrap_err();
        assert_eq!(error, FrameError::TooLong { bytes: MAX_FRAME_BYTES + 1 });
    }

    proptest::proptest! {
        #[test]
        fn decoding_never_panics(text in ".{0,200}") {
            let _ = decode_agent(&text);
            let _ = decode_server(&text);
        }
    }
}
