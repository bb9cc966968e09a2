//! An SOA record that is written once, ahead of the answers that it goes into: each copies it and sets its pointers.

use bartizan_names::{NAME_WIRE_MAX, RecordType};

use super::answer::{Answer, Owner, Section};
use super::{HEADER_BYTES, Head};

/// Owner pointer, type, class, TTL and data length.
const RDATA_AT: usize = 12;

/// The record with both names written out, and its numbers.
const RECORD_MAX: usize = RDATA_AT + 2 * NAME_WIRE_MAX + 20;

/// The bits that tell a pointer (RFC 1035 §4.1.4).
const POINTER: u16 = 0xc000;

/// An SOA record as it stands in the answer to a question about a name at or below its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedSoa {
    /// The record; of its pointers only the places count.
    record: Box<[u8]>,
    /// Where in it the names of its data have their pointers, if they have any, and where those lead.
    pointers: [Option<(u16, Target)>; 2],
}

/// A number of bytes behind the beginning of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Owner(u16),
    Record(u16),
}

impl PreparedSoa {
    /// `owner` and the names in `rdata` are uncompressed wire bytes; `ttl` is in seconds. None if `rdata` is not that of an
    /// SOA record (RFC 1035 §3.3.13).
    pub fn new(owner: &[u8], ttl: u32, rdata: &[u8]) -> Option<PreparedSoa> {
        // Written as in an answer about its owner, and taken out of that.
        let question = [owner, &[0; 4]].concat();
        let begin = HEADER_BYTES + question.len();
        let mut buffer = vec![0; begin + RECORD_MAX];
        let head = Head::about(&question);
        let mut answer = Answer::start(&head, &mut buffer, begin + RECORD_MAX)?;
        answer.record_set(Section::Authority, Owner::Question(0), RecordType::SOA, ttl, [rdata]);
        let end = answer.byte_count();
        let record = buffer.get(begin..end)?;
        let (mut pointers, mut at) = ([None; 2], RDATA_AT);
        for pointer in &mut pointers {
            while let Some(&length @ 1..0xc0) = record.get(at) {
                at += usize::from(length) + 1;
            }
            match record.get(at..)? {
                [0, ..] => at += 1,
                [high, low, ..] => {
                    let led = usize::from(u16::from_be_bytes([*high, *low]) & !POINTER);
                    let target = match led.checked_sub(begin) {
                        Some(inside) => Target::Record(inside as u16),
                        None => Target::Owner((led - HEADER_BYTES) as u16),
                    };
                    *pointer = Some((at as u16, target));
                    at += 2;
                }
                _ => return None,
            }
        }
        Some(PreparedSoa { record: record.into(), pointers })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.record
    }

    /// Sets the pointers of the record where it lies in a message: `place`, which begins at `at`. Its owner is at `owner_at`.
    #[inline]
    pub(super) fn point(&self, place: &mut [u8], at: usize, owner_at: usize) {
        // An answer whose first records these are is far shorter than what a pointer can say.
        let set = |place: &mut [u8], led: usize| place.copy_from_slice(&(led as u16 | POINTER).to_be_bytes());
        set(&mut place[..2], owner_at);
        for (pointer, target) in self.pointers.iter().flatten() {
            let led = match target {
                Target::Owner(behind) => owner_at + usize::from(*behind),
                Target::Record(behind) => at + usize::from(*behind),
            };
            set(&mut place[usize::from(*pointer)..][..2], led);
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::Name;
    use proptest::prelude::*;

    use super::super::{Authoritative, Class, Message, Rcode, parse, write_query};
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// The answer to a question for `asked` with the SOA record of `owner`, which is written by `write`.
    fn answer(asked: &Name, write: impl FnOnce(&mut Answer<'_>)) -> Vec<u8> {
        let query = write_query(7, asked, RecordType::A, Class::IN, None);
        let head = parse(&query).unwrap().head;
        let mut buffer = [0xee; 1500];
        let mut answer = Answer::start(&head, &mut buffer, 1500).unwrap();
        write(&mut answer);
        let len = answer.finish(Rcode::NXDOMAIN, Authoritative::Yes);
        buffer[..len].to_vec()
    }

    fn names() -> impl Strategy<Value = Name> {
        // Few letters, so that ends are often shared.
        "[ab]{1,2}(\\.[ab]{1,2}){0,3}".prop_map(|text| name(&text))
    }

    proptest! {
        /// Byte for byte what is written anew, unless its names end in labels of the question below its owner.
        #[test]
        fn a_prepared_record_is_that_of_the_writer(
            owner in names(), primary in names(), mailbox in names(), labels in prop::collection::vec("[abAB]{1,2}", 0..3)
        ) {
            let rdata = [primary.as_wire(), mailbox.as_wire(), &[9; 20]].concat();
            let asked = labels.iter().fold(owner.clone(), |name, label| name.child(label.as_bytes()).unwrap());
            let skipped = asked.as_wire().len() - owner.as_wire().len();
            let written = answer(&asked, |answer| {
                answer.record_set(Section::Authority, Owner::Question(skipped), RecordType::SOA, 60, [&rdata]);
            });
            let soa = PreparedSoa::new(owner.as_wire(), 60, &rdata).unwrap();
            let prepared = answer(&asked, |answer| {
                answer.soa(Section::Authority, skipped, &soa);
            });
            let read = |packet: &[u8]| Message::parse(packet).unwrap().authority;
            prop_assert_eq!(read(&written), read(&prepared));
            prop_assert!(written == prepared || !labels.is_empty() && written.len() < prepared.len());
        }
    }

    #[test]
    fn what_is_no_soa() {
        let names = [name("a").as_wire(), name("b").as_wire()].concat();
        for (rdata, is_soa) in [
            ([&names[..], &[0; 20]].concat(), true),
            (names.clone(), false),
            (vec![0; 22], true),
            (vec![0; 21], false),
            (Vec::new(), false),
        ] {
            assert_eq!(PreparedSoa::new(b"\x01a\0", 60, &rdata).is_some(), is_soa, "{rdata:?}");
        }
    }
}
