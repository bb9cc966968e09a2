//! The types whose data is a row of fields: which, in which order, and what the API shows of them where.
//!
//! A new type of this sort is a row here; its text, its JSON and its octets follow. RFC 1035 §3.3 (MX, NS, PTR), 2782
//! (SRV), 3403 §4 (NAPTR), 4034 §2 and §5 (DNSKEY, DS), 4255 (SSHFP), 4398 (CERT), 6672 (DNAME), 6698 (TLSA), 7344 (CDS,
//! CDNSKEY), 7553 (URI), 7929 (OPENPGPKEY), 8162 (SMIMEA), 8659 (CAA), 9460 (SVCB, HTTPS).

use bartizan_names::RecordType;

use super::field::{Field, Kind, Mnemonics, Value};

/// A type and its fields in the order of the wire.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) rtype: RecordType,
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [Field],
    /// Where the API has the field `priority`, which is the first if there is one.
    pub(crate) priority: Priority,
    pub(crate) shape: Shape,
    /// What must hold between fields.
    pub(crate) check: fn(&[Value]) -> Result<(), Misfit>,
}

/// A value that does not go with another one.
pub(crate) struct Misfit {
    pub(crate) field: &'static str,
    pub(crate) must_be: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// A field like all others, if there is one.
    Plain,
    /// Beside `content` and `data`, and in neither.
    Beside,
    /// In both, and beside them.
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The API has `content` alone.
    Content,
    /// The API has `data`, and `content` made of it.
    Data,
}

pub(crate) fn of(rtype: RecordType) -> Option<&'static Form> {
    FORMS.iter().find(|form| form.rtype == rtype)
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind }
}

const U8: Kind = Kind::U8(&[]);
const U16: Kind = Kind::U16(&[]);

/// RFC 4398 §2.1.
const CERTIFICATES: Mnemonics = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

/// IANA, "DNS Security Algorithm Numbers".
const ALGORITHMS: Mnemonics = &[
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

const HOST: &[Field] = &[field("content", Kind::Host)];

const TLSA: &[Field] =
    &[field("usage", U8), field("selector", U8), field("matching_type", U8), field("certificate", Kind::Hex)];

const DIGEST: &[Field] = &[
    field("key_tag", U16),
    field("algorithm", Kind::U8(ALGORITHMS)),
    field("digest_type", U8),
    field("digest", Kind::Hex),
];

const KEY: &[Field] = &[
    field("flags", U16),
    field("protocol", U8),
    field("algorithm", Kind::U8(ALGORITHMS)),
    field("public_key", Kind::Base64),
];

const SVCB: &[Field] = &[field("priority", U16), field("target", Kind::DottedHost), field("value", Kind::Params)];

macro_rules! forms {
    ($($rtype:ident $priority:ident $shape:ident $check:path, $fields:expr;)*) => {
        pub(crate) const FORMS: &[Form] = &[$(Form {
            rtype: RecordType::$rtype,
            name: stringify!($rtype),
            fields: $fields,
            priority: Priority::$priority,
            shape: Shape::$shape,
            check: $check,
        }),*];
    };
}

forms! {
    MX Beside Content any, &[field("priority", U16), field("content", Kind::Host)];
    NS Plain Content any, HOST;
    SRV Both Data any,
        &[field("priority", U16), field("weight", U16), field("port", U16), field("target", Kind::Host)];
    CAA Plain Data any, &[field("flags", U8), field("tag", Kind::Tag), field("value", Kind::Text)];
    PTR Plain Content any, HOST;
    HTTPS Plain Data any, SVCB;
    SVCB Plain Data any, SVCB;
    TLSA Plain Data association, TLSA;
    SMIMEA Plain Data association, TLSA;
    SSHFP Plain Data fingerprint, &[field("algorithm", U8), field("type", U8), field("fingerprint", Kind::Hex)];
    DNAME Plain Content any, HOST;
    DS Plain Data digest, DIGEST;
    CDS Plain Data digest, DIGEST;
    DNSKEY Plain Data any, KEY;
    CDNSKEY Plain Data any, KEY;
    CERT Plain Data any, &[
        field("type", Kind::U16(CERTIFICATES)),
        field("key_tag", U16),
        field("algorithm", Kind::U8(ALGORITHMS)),
        field("certificate", Kind::Base64),
    ];
    NAPTR Plain Data any, &[
        field("order", U16),
        field("preference", U16),
        field("flags", Kind::String),
        field("service", Kind::String),
        field("regex", Kind::String),
        field("replacement", Kind::DottedHost),
    ];
    URI Beside Data some_target, &[field("priority", U16), field("weight", U16), field("target", Kind::Text)];
    OPENPGPKEY Plain Content any, &[field("content", Kind::Base64)];
}

fn any(_: &[Value]) -> Result<(), Misfit> {
    Ok(())
}

/// RFC 7553 §4.4: a URI has at least a scheme.
fn some_target(values: &[Value]) -> Result<(), Misfit> {
    match values.last() {
        Some(Value::Octets(octets)) if octets.is_empty() => {
            Err(Misfit { field: "target", must_be: "a URI, not empty" })
        }
        _ => Ok(()),
    }
}

/// RFC 4509 §2, RFC 6605 §2, RFC 4034 §5.1.4: a digest that is too short matches nothing.
fn digest(values: &[Value]) -> Result<(), Misfit> {
    length(values, &[(1, 20), (2, 32), (4, 48)])
        .ok_or(Misfit { field: "digest", must_be: "as long as the digest type has it" })
}

/// RFC 4255 §3.1.2, RFC 6594 §4.
fn fingerprint(values: &[Value]) -> Result<(), Misfit> {
    length(values, &[(1, 20), (2, 32)])
        .ok_or(Misfit { field: "fingerprint", must_be: "as long as the fingerprint's type has it" })
}

/// RFC 6698 §2.1.3.
fn association(values: &[Value]) -> Result<(), Misfit> {
    length(values, &[(1, 32), (2, 64)])
        .ok_or(Misfit { field: "certificate", must_be: "as long as the matching type has it" })
}

/// The last field is as long as the number before it says, if it is a known one.
fn length(values: &[Value], lengths: &[(u16, usize)]) -> Option<()> {
    let [.., Value::Number(kind), Value::Octets(octets)] = values else { return Some(()) };
    let known = lengths.iter().find(|(known, _)| known == kind);
    known.is_none_or(|(_, length)| octets.len() == *length).then_some(())
}
