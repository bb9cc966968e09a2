//! What the server says about itself: `id.server` and `version.server` in class CHAOS (RFC 4892).

use bartizan_names::RecordType;
use bartizan_wire::dns::{Answer, Class, ExtendedError, QUESTION_POINTER, Rcode, Section};

use crate::answer::{Question, Subject, Verdict};
use crate::facts::Identity;

/// A character string has one length octet (RFC 1035 §3.3); what is longer is cut.
const TEXT_MAX: usize = 255;

/// Owner, type, class, TTL, data length and the text's length.
const TEXT_AT: usize = 13;

pub(crate) fn answer(identity: &Identity, question: &Question<'_, '_>, answer: &mut Answer<'_>) -> Verdict {
    let text = match question.key.name {
        b"\x02id\x06server\0" | b"\x08hostname\x04bind\0" => &identity.id_server,
        b"\x07version\x06server\0" | b"\x07version\x04bind\0" => &identity.version,
        _ => return Verdict::refused(Rcode::REFUSED, ExtendedError::NOT_AUTHORITATIVE),
    };
    if matches!(question.query.qtype, RecordType::TXT | RecordType::ANY) {
        let text = &text.as_bytes()[..text.len().min(TEXT_MAX)];
        let mut record = [0; TEXT_AT + TEXT_MAX];
        record[..2].copy_from_slice(&QUESTION_POINTER);
        record[2..4].copy_from_slice(&RecordType::TXT.0.to_be_bytes());
        record[4..6].copy_from_slice(&Class::CHAOS.0.to_be_bytes());
        record[10..12].copy_from_slice(&(text.len() as u16 + 1).to_be_bytes());
        record[12] = text.len() as u8;
        record[TEXT_AT..TEXT_AT + text.len()].copy_from_slice(text);
        answer.block(Section::Answer, &record[..TEXT_AT + text.len()], 1);
    }
    Verdict::authoritative(Rcode::NOERROR, Subject::Name(question.key.hash))
}
