//! DNS messages before another implementation (hickory-proto): what one writes the other reads, and of bytes by chance what
//! both read is the same.

use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::{
    Answer, Authoritative, Class, Edns, Message, Owner, Query, Rcode, Section, TCP_ANSWER_MAX, parse, write_query,
};
use hickory_proto::op;
use hickory_proto::rr;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use proptest::collection::vec;
use proptest::prelude::*;

/// A record as either of them tells it, without compression.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    owner: Vec<u8>,
    rtype: u16,
    class: u16,
    ttl: u32,
    rdata: Vec<u8>,
}

/// A message: id, question and the records of each section.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    id: u16,
    question: Option<(Vec<u8>, u16, u16)>,
    sections: [Vec<Told>; 3],
}

fn by_us(bytes: &[u8]) -> Option<Read> {
    let message = Message::parse(bytes).ok()?;
    let told = |record: &bartizan_wire::dns::Record| Told {
        owner: record.owner.as_wire().to_vec(),
        rtype: record.rtype.0,
        class: record.class.0,
        ttl: record.ttl,
        rdata: record.rdata.clone(),
    };
    let sections = [&message.answers, &message.authority, &message.additional];
    Some(Read {
        id: message.id,
        question: message.question.map(|(name, rtype, class)| (name.as_wire().to_vec(), rtype.0, class.0)),
        sections: sections.map(|section| section.iter().map(told).collect()),
    })
}

fn by_them(bytes: &[u8]) -> Option<Read> {
    let message = op::Message::from_vec(bytes).ok()?;
    let told = |record: &rr::Record| {
        let rdata = plain(&record.data);
        Told {
            owner: plain(&record.name),
            rtype: record.record_type().into(),
            class: record.dns_class.into(),
            ttl: record.ttl,
            rdata,
        }
    };
    let sections = [&message.answers, &message.authorities, &message.additionals];
    Some(Read {
        id: message.metadata.id,
        question: message
            .queries
            .last()
            .map(|query| (plain(&query.name), query.query_type.into(), query.query_class.into())),
        sections: sections.map(|section| section.iter().map(told).collect()),
    })
}

/// What they write of it where nothing is compressed.
fn plain(part: &impl BinEncodable) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_canonical_form(true);
    part.emit(&mut encoder).expect("it was read");
    bytes
}

/// Names under a few others, so that there is something to compress. In lower case, as their canonical form has it.
fn name() -> impl Strategy<Value = Name> {
    let label = prop_oneof![4 => "[a-c]{1,3}", 1 => "[a-z0-9_-]{1,63}"];
    let parent = prop_oneof![Just("example.test"), Just("test"), Just("")];
    (vec(label, 0..3), parent).prop_map(|(labels, parent)| {
        let labels =
            labels.iter().map(String::as_bytes).chain(parent.split('.').filter(|l| !l.is_empty()).map(str::as_bytes));
        labels.rev().fold(Name::root(), |name, label| name.child(label).expect("short enough"))
    })
}

/// Data of a type as both know it.
fn data() -> impl Strategy<Value = (RecordType, Vec<u8>)> {
    let of = |rtype: RecordType| move |name: Name| (rtype, name.as_wire().to_vec());
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| (RecordType::A, octets.to_vec())),
        any::<[u8; 16]>().prop_map(|octets| (RecordType::AAAA, octets.to_vec())),
        name().prop_map(of(RecordType::NS)),
        name().prop_map(of(RecordType::CNAME)),
        name().prop_map(of(RecordType::PTR)),
        (any::<[u8; 2]>(), name())
            .prop_map(|(preference, name)| { (RecordType::MX, [&preference[..], name.as_wire()].concat()) }),
        (any::<[u8; 6]>(), name())
            .prop_map(|(numbers, name)| (RecordType::SRV, [&numbers[..], name.as_wire()].concat())),
        (name(), name(), any::<[u8; 20]>()).prop_map(|(primary, mailbox, numbers)| {
            (RecordType::SOA, [primary.as_wire(), mailbox.as_wire(), &numbers].concat())
        }),
        vec(vec(any::<u8>(), 0..40), 1..4).prop_map(|texts| {
            let pieces = texts.iter().flat_map(|text| [&[text.len() as u8][..], text].concat());
            (RecordType::TXT, pieces.collect())
        }),
        vec(any::<u8>(), 1..60).prop_map(|octets| (RecordType(65_280), octets)),
    ]
}

type Drawn = (u8, Option<Name>, u32, (RecordType, Vec<u8>));

/// An answer by us to a question with these records, section by section.
fn answer(query: &Query<'_>, records: &[Drawn]) -> Vec<u8> {
    let mut buffer = vec![0; TCP_ANSWER_MAX];
    let mut answer = Answer::start(&query.head, &mut buffer, TCP_ANSWER_MAX).expect("room");
    for (at, section) in [Section::Answer, Section::Authority, Section::Additional].into_iter().enumerate() {
        for (_, owner, ttl, (rtype, rdata)) in records.iter().filter(|record| usize::from(record.0) == at) {
            let owner = owner.as_ref().map_or(Owner::Question(0), |owner| Owner::Name(owner.as_wire()));
            answer.record_set(section, owner, *rtype, *ttl, [rdata]);
        }
    }
    let length = answer.finish(Rcode::NOERROR, Authoritative::Yes);
    buffer.truncate(length);
    buffer
}

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    // A TTL has 31 bits (RFC 2181 §8).
    vec((0..3_u8, proptest::option::of(name()), 0..1_u32 << 31, data()), 0..12)
}

fn edns() -> Edns<'static> {
    Edns::of_size(1232)
}

proptest! {
    #[test]
    fn questions_are_read_alike(id: u16, name in name(), rtype in 1..500_u16, with_edns: bool) {
        // No type of a question: they refuse OPT, and read nothing behind a signature.
        prop_assume!(![41, 24, 250].contains(&rtype));
        let ours = write_query(id, &name, RecordType(rtype), Class::IN, with_edns.then(edns));
        let message = op::Message::from_vec(&ours).expect("it is one");
        prop_assert_eq!(message.edns.as_ref().map(|edns| edns.max_payload()), with_edns.then_some(1232));
        prop_assert_eq!(by_them(&ours), by_us(&ours));
        let theirs = message.to_vec().expect("it was read");
        let query = parse(&theirs).expect("a question");
        prop_assert_eq!((query.head.id, query.name(), query.qtype.0, query.class), (id, name.as_wire(), rtype, Class::IN));
        prop_assert_eq!(query.head.edns.is_some(), with_edns);
    }

    /// We write and compress, they read; they write and compress what they read, we read.
    #[test]
    fn answers_are_read_alike(id: u16, asked in name(), records in drawn(), with_edns: bool) {
        let query = write_query(id, &asked, RecordType::A, Class::IN, with_edns.then(edns));
        let ours = answer(&parse(&query).expect("ours"), &records);
        let told = by_us(&ours).expect("ours");
        let sections = [0_u8, 1, 2].map(|at| {
            let of_section = records.iter().filter(|record| record.0 == at);
            let told = of_section.map(|(_, owner, ttl, (rtype, rdata))| Told {
                owner: owner.as_ref().unwrap_or(&asked).as_wire().to_vec(),
                rtype: rtype.0,
                class: Class::IN.0,
                ttl: *ttl,
                rdata: rdata.clone(),
            });
            told.collect::<Vec<_>>()
        });
        prop_assert_eq!(&told.sections, &sections);
        let theirs = by_them(&ours);
        prop_assert_eq!(theirs.as_ref(), Some(&told));
        let theirs = op::Message::from_vec(&ours).expect("read above").to_vec().expect("it was read");
        prop_assert_eq!(by_us(&theirs), Some(told));
    }

    /// Damage here and there: owners, types, classes and lifetimes that both read are the same.
    #[test]
    fn damaged_answers_are_read_alike(records in drawn(), damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4)) {
        let query = write_query(7, &Name::parse("a.example.test").expect("a name"), RecordType::A, Class::IN, None);
        let mut bytes = answer(&parse(&query).expect("ours"), &records);
        for (at, octet) in damage {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        if let (Some(ours), Some(theirs)) = (by_us(&bytes), by_them(&bytes)) {
            let heads = |read: &Read| -> Vec<_> {
                let all = read.sections.iter().flatten();
                all.map(|told| (told.owner.to_ascii_lowercase(), told.rtype, told.class, told.ttl)).collect()
            };
            prop_assert_eq!(heads(&ours), heads(&theirs));
        }
    }
}
