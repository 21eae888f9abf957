//! Frames of both directions.

use restic_manager_core::wire::{Decoded, Frame, FrameError, decode_agent, decode_server};
use serde_json::Value;

pub(crate) fn run(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let agent = judge(&text, decode_agent(&text), decode_agent, Frame::to_text);
    let server = judge(&text, decode_server(&text), decode_server, Frame::to_text);
    agent || server
}

type Answer<M> = Result<Decoded<M>, FrameError>;

/// What is read must be what stands there, and what is written of it must be read as the same.
fn judge<M: PartialEq + std::fmt::Debug>(
    text: &str,
    answer: Answer<M>,
    decode: fn(&str) -> Answer<M>,
    to_text: fn(&Frame<M>) -> String,
) -> bool {
    // What nobody asks for is passed over without a look into it, so there are messages that the judge cannot read whole.
    let Ok(raw) = serde_json::from_str::<Value>(text) else {
        return matches!(answer, Ok(Decoded::Message(_)));
    };
    let seq_there = raw["seq"].as_u64();
    let type_there = raw["type"].as_str();
    match answer {
        Ok(Decoded::Message(frame)) => {
            assert_eq!(frame.seq, seq_there, "another number than the frame's");
            assert_eq!(frame.after, raw["after"].as_u64(), "another number before it than the frame's");
            let once = to_text(&frame);
            let Ok(Decoded::Message(again)) = decode(&once) else {
                panic!("what was read of {text:?} is written as {once:?}, which is no message");
            };
            // Numbers with a fraction may move by their last digit, so it is what is written that must stand still.
            let twice = to_text(&again);
            let Ok(Decoded::Message(third)) = decode(&twice) else { panic!("{twice:?} is no message") };
            assert_eq!(
                (again.seq, &again.message),
                (third.seq, &third.message),
                "{once:?} against {twice:?}"
            );
            let kind_written = serde_json::from_str::<Value>(&once).unwrap()["type"].clone();
            assert_eq!(kind_written.as_str(), type_there, "another type than the frame's");
            true
        }
        Ok(Decoded::Unknown { kind, seq, after }) => {
            assert_eq!((Some(kind.as_str()), seq, after), (type_there, seq_there, raw["after"].as_u64()));
            false
        }
        Err(FrameError::Payload { kind, seq, why, .. }) => {
            assert_eq!((Some(kind.as_str()), seq), (type_there, seq_there));
            assert!(!why.is_empty(), "a payload is refused without a word");
            false
        }
        Err(FrameError::NotJson(why)) => {
            assert!(!why.is_empty());
            let frame_like =
                raw.is_object() && raw["v"].as_u64().is_some_and(|v| v <= 65_535) && raw["type"].is_string();
            let is_number = |name: &str| raw[name].is_null() || raw[name].is_u64();
            let seq_fits = is_number("seq") && is_number("after");
            // A name that stands twice is refused here, and taken once by the judge.
            let twice = ["\"v\"", "\"type\"", "\"seq\"", "\"after\"", "\"payload\""]
                .iter()
                .any(|n| text.matches(n).count() > 1);
            assert!(!frame_like || !seq_fits || twice || text.contains('\\'), "{text:?} is refused: {why}");
            false
        }
        Err(FrameError::TooLong { bytes }) => {
            assert_eq!(bytes, text.len());
            false
        }
    }
}
