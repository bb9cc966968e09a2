//! The head of an answer, for who has asked (RFC 9114 §4.1).

use super::frame::{DATA, HEADERS, HeadBytes, RESERVED};
use super::{Code, Fault, Limits, qpack};
use crate::http2::hpack::List;
use crate::http2::{AnswerHead, HeadRoom, Section};

/// Looks for the head of the final answer at the beginning of a stream; its fields lie in the `HeadRoom` then. None: more has to
/// come. It is looked for anew each time, so the caller bounds what there is.
pub fn answer_head(stream: &[u8], limits: Limits, heads: &mut HeadRoom) -> Result<Option<AnswerHead>, Fault> {
    let mut at = 0;
    loop {
        let mut bytes = HeadBytes::default();
        let (used, Some(head)) = bytes.take(&stream[at..]) else { return Ok(None) };
        at += used;
        match head.kind {
            HEADERS if head.length > limits.list_bytes as u64 => {
                return Err(Fault::message("the head of an answer is too long"));
            }
            DATA => return Err(Fault::connection(Code::FrameUnexpected, "a body without a head")),
            kind if RESERVED.contains(&kind) => {
                return Err(Fault::connection(Code::FrameUnexpected, "a frame of HTTP/2"));
            }
            _ => {}
        }
        let end = usize::try_from(head.length).ok().and_then(|length| at.checked_add(length));
        let Some(payload) = end.and_then(|end| stream.get(at..end)) else { return Ok(None) };
        at += payload.len();
        if head.kind != HEADERS {
            continue;
        }
        heads.begin(Section::Answer, limits.fields);
        let mut unfolded = heads.unfolding();
        let list = qpack::decode(payload, limits.list_bytes, &mut unfolded, |name, value| heads.take(name, value));
        heads.give_unfolding(unfolded);
        match list {
            Ok(List::Whole) => {}
            Ok(List::TooLarge) => return Err(Fault::message("the head of an answer is too long")),
            Err(_) => return Err(Fault::connection(Code::Decompression, "a block of fields that cannot be read")),
        }
        let answer = heads.finish_answer().map_err(|_| Fault::message("an answer that is none"))?;
        if !answer.is_interim() {
            return Ok(Some(answer));
        }
    }
}
