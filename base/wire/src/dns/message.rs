//! A whole message as an owned value, for clients of ours and for tests. Not for the hot path.

use std::net::IpAddr;

use bartizan_names::{NAME_WIRE_MAX, Name, NameError, RecordType};

use super::{Class, HEADER_BYTES, Rcode, u16_at, u32_at};

/// A message with its records' names written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u16,
    pub response: bool,
    pub authoritative: bool,
    pub truncated: bool,
    pub recursion_desired: bool,
    pub recursion_available: bool,
    /// With the upper bits of an OPT record, if there is one.
    pub rcode: Rcode,
    pub question: Option<(Name, RecordType, Class)>,
    pub answers: Vec<Record>,
    pub authority: Vec<Record>,
    /// Without the OPT record.
    pub additional: Vec<Record>,
    /// The size that an OPT record says.
    pub udp_size: Option<u16>,
    /// Its flags (IANA, "EDNS Header Flags").
    pub edns_flags: u16,
    /// Its options, each with its code.
    pub options: Vec<(u16, Vec<u8>)>,
}

/// A record whose data has no pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub owner: Name,
    pub rtype: RecordType,
    pub class: Class,
    pub ttl: u32,
    pub rdata: Vec<u8>,
}

impl Record {
    /// The address in an A or AAAA record.
    pub fn address(&self) -> Option<IpAddr> {
        match self.rtype {
            RecordType::A => <[u8; 4]>::try_from(&*self.rdata).ok().map(IpAddr::from),
            RecordType::AAAA => <[u8; 16]>::try_from(&*self.rdata).ok().map(IpAddr::from),
            _ => None,
        }
    }
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("the message ends too early")]
    Short,
    #[error("a compressed name does not end")]
    Pointer,
    #[error("bytes follow the last record")]
    Trailing,
    #[error("a name is not valid")]
    Name(#[from] NameError),
}

impl Message {
    pub fn parse(packet: &[u8]) -> Result<Message, MessageError> {
        let count = |index: usize| u16_at(packet, 4 + 2 * index).ok_or(MessageError::Short);
        let (id, flags) = u16_at(packet, 0).zip(u16_at(packet, 2)).ok_or(MessageError::Short)?;
        let counts = [count(0)?, count(1)?, count(2)?, count(3)?];
        let mut reader = Reader { packet, at: HEADER_BYTES };
        let mut question = None;
        for _ in 0..counts[0] {
            question = Some((reader.name()?, RecordType(reader.u16()?), Class(reader.u16()?)));
        }
        let answers = reader.records(counts[1])?;
        let authority = reader.records(counts[2])?;
        let mut additional = reader.records(counts[3])?;
        if reader.at != packet.len() {
            return Err(MessageError::Trailing);
        }
        let opt = additional.iter().position(|record| record.rtype == RecordType::OPT).map(|at| additional.remove(at));
        let (upper, edns_flags) = opt.as_ref().map_or((0, 0), |opt| ((opt.ttl >> 24) as u8, opt.ttl as u16));
        let options = opt.as_ref().map_or(Ok(Vec::new()), |opt| read_options(&opt.rdata))?;
        Ok(Message {
            id,
            response: flags & 0x8000 != 0,
            authoritative: flags & 0x0400 != 0,
            truncated: flags & 0x0200 != 0,
            recursion_desired: flags & 0x0100 != 0,
            recursion_available: flags & 0x0080 != 0,
            rcode: Rcode(upper << 4 | (flags & 0x0f) as u8),
            question,
            answers,
            authority,
            additional,
            udp_size: opt.map(|opt| opt.class.0),
            edns_flags,
            options,
        })
    }
}

fn read_options(mut data: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, MessageError> {
    let mut options = Vec::new();
    while !data.is_empty() {
        let (code, length) = u16_at(data, 0).zip(u16_at(data, 2)).ok_or(MessageError::Short)?;
        let (option, rest) = data[4..].split_at_checked(usize::from(length)).ok_or(MessageError::Short)?;
        options.push((code, option.to_vec()));
        data = rest;
    }
    Ok(options)
}

struct Reader<'m> {
    packet: &'m [u8],
    at: usize,
}

impl Reader<'_> {
    fn records(&mut self, count: u16) -> Result<Vec<Record>, MessageError> {
        (0..count).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> Result<Record, MessageError> {
        let owner = self.name()?;
        let (rtype, class) = (RecordType(self.u16()?), Class(self.u16()?));
        let ttl = u32_at(self.packet, self.at).ok_or(MessageError::Short)?;
        self.at += 4;
        let length = usize::from(self.u16()?);
        let end = self.at + length;
        let rdata = self.rdata(rtype, end)?;
        self.at = end;
        Ok(Record { owner, rtype, class, ttl, rdata })
    }

    /// The data up to `end`, with the names of the types of RFC 1035 written out.
    fn rdata(&mut self, rtype: RecordType, end: usize) -> Result<Vec<u8>, MessageError> {
        let raw = self.packet.get(self.at..end).ok_or(MessageError::Short)?;
        let mut rdata = Vec::with_capacity(raw.len());
        let (before, names) = match rtype {
            RecordType::NS | RecordType::CNAME | RecordType::PTR => (0, 1),
            RecordType::MX => (2, 1),
            RecordType::SOA => (0, 2),
            _ => (raw.len(), 0),
        };
        rdata.extend_from_slice(raw.get(..before).ok_or(MessageError::Short)?);
        self.at += before;
        for _ in 0..names {
            rdata.extend_from_slice(self.name()?.as_wire());
        }
        rdata.extend_from_slice(self.packet.get(self.at..end).ok_or(MessageError::Short)?);
        Ok(rdata)
    }

    fn u16(&mut self) -> Result<u16, MessageError> {
        let value = u16_at(self.packet, self.at).ok_or(MessageError::Short)?;
        self.at += 2;
        Ok(value)
    }

    /// Reads a name and stands behind it. A pointer must point before the name it ends, so reading comes to an end.
    fn name(&mut self) -> Result<Name, MessageError> {
        let mut wire = Vec::new();
        let (mut at, mut earliest, mut after) = (self.at, self.at, None);
        loop {
            let length = *self.packet.get(at).ok_or(MessageError::Short)?;
            if length >= 0xc0 {
                let target = usize::from(u16_at(self.packet, at).ok_or(MessageError::Short)? & 0x3fff);
                if target >= earliest {
                    return Err(MessageError::Pointer);
                }
                after.get_or_insert(at + 2);
                (at, earliest) = (target, target);
                continue;
            }
            let label = self.packet.get(at..=at + usize::from(length)).ok_or(MessageError::Short)?;
            wire.extend_from_slice(label);
            at += label.len();
            if wire.len() > NAME_WIRE_MAX {
                return Err(NameError::LongName.into());
            }
            if length == 0 {
                break;
            }
        }
        self.at = after.unwrap_or(at);
        Ok(Name::from_wire(&wire)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_that_are_no_message() {
        let header = b"\0\x01\x80\0\0\0\0\x01\0\0\0\0";
        for (rest, error) in [
            (&b""[..], MessageError::Short),
            (b"\xc0\x0c", MessageError::Pointer),
            (b"\xc0\xff", MessageError::Pointer),
            (b"\x01a", MessageError::Short),
            (b"\x40a\0", MessageError::Short),
            (b"\0\0\x01\0\x01\0\0\0\0\0\x01", MessageError::Short),
            (b"\0\0\x01\0\x01\0\0\0\0\0\0x", MessageError::Trailing),
        ] {
            assert_eq!(Message::parse(&[&header[..], rest].concat()), Err(error), "{rest:?}");
        }
        assert_eq!(Message::parse(&header[..11]), Err(MessageError::Short));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(packet in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&packet);
        }

        #[test]
        fn names_of_any_bytes_are_survived(rest in prop::collection::vec(prop_oneof![0..4_u8, 0xc0..=0xc1_u8, 12..40_u8], 0..80)) {
            let _ = Message::parse(&[&b"\0\x01\x80\0\0\x01\0\x01\0\x01\0\0"[..], &rest].concat());
        }
    }
}
