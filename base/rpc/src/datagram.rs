//! UDP through a tunnel: the format of QUIC datagrams (RFC 9221) between the edge and a connector. Numbers are
//! big-endian.
//!
//! ```text
//! version 2   payload ‖ session (16) ‖ 0        UDP, both ways. Sessions begin and end by remote calls (session.rs)
//!             packet ‖ 1, packet ‖ trace ‖ 2, spans ‖ 3     whole IP packets and traces: not carried
//! version 3   0 ‖ flags ‖ port u16 ‖ idle seconds u16 ‖ session (16) ‖ address (4 or 16) [‖ payload]   register
//!             1 ‖ session (16) ‖ payload                                                 UDP, both ways
//!             2 ‖ packet                                                                 not carried
//!             3 ‖ code ‖ session (16) ‖ length u16 ‖ text                                answer to a registration
//!             4 ‖ session (16)                                                           the session has ended
//! flags       1 IPv6, 2 traced, 4 payload follows, 0x80 the sender understands type 4
//! ```
//! Type 4 and its flag are ours; without them an end is noticed by silence only. Types are told apart by the first byte
//! in version 3, and by the last one in version 2: a connection speaks one of them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

/// What connectors list that speak version 2, and version 3. The edge uses the newer one of those listed.
pub const DATAGRAM_V2_FEATURE: &str = "support_datagram_v2";
pub const DATAGRAM_V3_FEATURE: &str = "support_datagram_v3_2";

/// The largest payload that stock connectors take.
pub const STOCK_PAYLOAD_BYTES_MAX: usize = 1280;

const ID_BYTES: usize = 16;

const V2_UDP: u8 = 0;
const V2_KNOWN: std::ops::RangeInclusive<u8> = 0..=3;

const V3_REGISTER: u8 = 0;
const V3_PAYLOAD: u8 = 1;
const V3_PACKET: u8 = 2;
const V3_ANSWER: u8 = 3;
const V3_END: u8 = 4;

const FLAG_IPV6: u8 = 1;
const FLAG_BUNDLED: u8 = 4;
const FLAG_ENDS: u8 = 0x80;

/// How UDP is put into datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramVersion {
    V2,
    V3,
}

/// Names a session on its connection. Chosen by the edge, at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId([u8; ID_BYTES]);

impl SessionId {
    pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> SessionId {
        SessionId(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

/// What is asked of a connector for one UDP flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpSession {
    pub id: SessionId,
    pub destination: SocketAddr,
    /// After this silence the session ends; zero leaves it to the connector. Whole seconds in version 3.
    pub idle: Duration,
}

/// Whether the other side is told of a session's end by a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Told,
    Silent,
}

/// One datagram, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    Payload(SessionId, Bytes),
    /// Version 3, edge to connector. A payload may come along; stock connectors lose it, so our edge sends none.
    Register(UdpSession, Ends, Option<Bytes>),
    /// Version 3, connector to edge.
    Answer(SessionId, Answer),
    /// Version 3, both ways, between ends of ours.
    End(SessionId),
    /// A known type that is not carried: IP packets, traces.
    Other,
}

/// The connector's answer to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Registered,
    Unreachable,
    CannotBind,
    TooMany,
    Failed(String),
}

/// A datagram is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    #[error("the datagram is too short")]
    Short,
    #[error("the datagram has the unknown type {0}")]
    UnknownType(u8),
    #[error("the answer has the unknown code {0}")]
    UnknownCode(u8),
}

/// A UDP payload as a datagram.
///
/// Hot: once a datagram. One allocation, one copy.
pub fn encode_payload(version: DatagramVersion, session: SessionId, payload: &[u8]) -> Bytes {
    let mut datagram = BytesMut::with_capacity(1 + ID_BYTES + payload.len());
    match version {
        DatagramVersion::V2 => {
            datagram.put_slice(payload);
            datagram.put_slice(&session.0);
            datagram.put_u8(V2_UDP);
        }
        DatagramVersion::V3 => {
            datagram.put_u8(V3_PAYLOAD);
            datagram.put_slice(&session.0);
            datagram.put_slice(payload);
        }
    }
    datagram.freeze()
}

/// Asks for a session (version 3). The payload waits for the answer.
pub fn encode_register(session: &UdpSession, ends: Ends) -> Bytes {
    let mut datagram = BytesMut::new();
    let flags = if ends == Ends::Told { FLAG_ENDS } else { 0 };
    let seconds = u16::try_from(session.idle.as_secs()).unwrap_or(u16::MAX);
    datagram.put_u8(V3_REGISTER);
    datagram.put_u8(if session.destination.is_ipv6() { flags | FLAG_IPV6 } else { flags });
    datagram.put_u16(session.destination.port());
    datagram.put_u16(seconds);
    datagram.put_slice(&session.id.0);
    match session.destination.ip() {
        IpAddr::V4(v4) => datagram.put_slice(&v4.octets()),
        IpAddr::V6(v6) => datagram.put_slice(&v6.octets()),
    }
    datagram.freeze()
}

/// Answers a registration (version 3).
pub fn encode_answer(session: SessionId, answer: &Answer) -> Bytes {
    let (code, text) = match answer {
        Answer::Registered => (0, ""),
        Answer::Unreachable => (1, ""),
        Answer::CannotBind => (2, ""),
        Answer::TooMany => (3, ""),
        Answer::Failed(text) => (0xFF, &**text),
    };
    // More would not fit into a datagram.
    let text = &text.as_bytes()[..text.len().min(512)];
    let mut datagram = BytesMut::new();
    datagram.put_u8(V3_ANSWER);
    datagram.put_u8(code);
    datagram.put_slice(&session.0);
    datagram.put_u16(text.len() as u16);
    datagram.put_slice(text);
    datagram.freeze()
}

/// Tells of a session's end (version 3, to ends of ours).
pub fn encode_end(session: SessionId) -> Bytes {
    let mut datagram = BytesMut::with_capacity(1 + ID_BYTES);
    datagram.put_u8(V3_END);
    datagram.put_slice(&session.0);
    datagram.freeze()
}

impl Datagram {
    /// Hot: once a datagram. Payloads are not copied.
    pub fn decode(version: DatagramVersion, datagram: Bytes) -> Result<Datagram, DatagramError> {
        match version {
            DatagramVersion::V2 => decode_v2(datagram),
            DatagramVersion::V3 => decode_v3(datagram),
        }
    }
}

fn decode_v2(mut datagram: Bytes) -> Result<Datagram, DatagramError> {
    let kind = *datagram.last().ok_or(DatagramError::Short)?;
    if kind != V2_UDP {
        return if V2_KNOWN.contains(&kind) { Ok(Datagram::Other) } else { Err(DatagramError::UnknownType(kind)) };
    }
    let payload_bytes = datagram.len().checked_sub(1 + ID_BYTES).ok_or(DatagramError::Short)?;
    let mut end = datagram.split_off(payload_bytes);
    Ok(Datagram::Payload(take_id(&mut end)?, datagram))
}

fn decode_v3(mut datagram: Bytes) -> Result<Datagram, DatagramError> {
    let [kind] = take(&mut datagram)?;
    match kind {
        V3_PAYLOAD => Ok(Datagram::Payload(take_id(&mut datagram)?, datagram)),
        V3_REGISTER => decode_register(datagram),
        V3_ANSWER => decode_answer(datagram),
        V3_END => Ok(Datagram::End(take_id(&mut datagram)?)),
        V3_PACKET => Ok(Datagram::Other),
        unknown => Err(DatagramError::UnknownType(unknown)),
    }
}

fn decode_register(mut datagram: Bytes) -> Result<Datagram, DatagramError> {
    let [flags] = take(&mut datagram)?;
    let port = u16::from_be_bytes(take(&mut datagram)?);
    let idle = Duration::from_secs(u16::from_be_bytes(take(&mut datagram)?).into());
    let id = take_id(&mut datagram)?;
    let address = match flags & FLAG_IPV6 {
        0 => IpAddr::from(take::<4>(&mut datagram)?),
        _ => IpAddr::from(take::<16>(&mut datagram)?),
    };
    let session = UdpSession { id, destination: SocketAddr::new(address, port), idle };
    let ends = if flags & FLAG_ENDS == 0 { Ends::Silent } else { Ends::Told };
    Ok(Datagram::Register(session, ends, (flags & FLAG_BUNDLED != 0).then_some(datagram)))
}

fn decode_answer(mut datagram: Bytes) -> Result<Datagram, DatagramError> {
    let [code] = take(&mut datagram)?;
    let id = take_id(&mut datagram)?;
    let answer = match code {
        0 => Answer::Registered,
        1 => Answer::Unreachable,
        2 => Answer::CannotBind,
        3 => Answer::TooMany,
        0xFF => {
            let length = usize::from(u16::from_be_bytes(take(&mut datagram)?));
            let text = datagram.get(..length).ok_or(DatagramError::Short)?;
            Answer::Failed(String::from_utf8_lossy(text).into_owned())
        }
        unknown => return Err(DatagramError::UnknownCode(unknown)),
    };
    Ok(Datagram::Answer(id, answer))
}

fn take<const N: usize>(from: &mut Bytes) -> Result<[u8; N], DatagramError> {
    let bytes = *from.first_chunk().ok_or(DatagramError::Short)?;
    bytes::Buf::advance(from, N);
    Ok(bytes)
}

fn take_id(from: &mut Bytes) -> Result<SessionId, DatagramError> {
    take(from).map(SessionId)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: SessionId = SessionId([0xAB; 16]);
    const ID_HEX: &str = "abababababababababababababababab";

    fn session(destination: &str, seconds: u64) -> UdpSession {
        UdpSession { id: ID, destination: destination.parse().unwrap(), idle: Duration::from_secs(seconds) }
    }

    fn text(bytes: &[u8]) -> String {
        hex::encode(bytes)
    }

    #[test]
    fn what_is_written_is_read() {
        use DatagramVersion::{V2, V3};
        let failed = Answer::Failed("no".to_owned());
        for (version, bytes, layout, datagram) in [
            (V2, encode_payload(V2, ID, b"hi"), "6869 ID 00", Datagram::Payload(ID, Bytes::from_static(b"hi"))),
            (V2, encode_payload(V2, ID, b""), "ID 00", Datagram::Payload(ID, Bytes::new())),
            (V3, encode_payload(V3, ID, b"hi"), "01 ID 6869", Datagram::Payload(ID, Bytes::from_static(b"hi"))),
            (
                V3,
                encode_register(&session("192.0.2.1:53", 210), Ends::Silent),
                "00 00 0035 00d2 ID c0000201",
                Datagram::Register(session("192.0.2.1:53", 210), Ends::Silent, None),
            ),
            (
                V3,
                encode_register(&session("[2001:db8::1]:53", 0), Ends::Told),
                "00 81 0035 0000 ID 20010db8000000000000000000000001",
                Datagram::Register(session("[2001:db8::1]:53", 0), Ends::Told, None),
            ),
            (V3, encode_answer(ID, &Answer::Registered), "03 00 ID 0000", Datagram::Answer(ID, Answer::Registered)),
            (V3, encode_answer(ID, &Answer::Unreachable), "03 01 ID 0000", Datagram::Answer(ID, Answer::Unreachable)),
            (V3, encode_answer(ID, &Answer::CannotBind), "03 02 ID 0000", Datagram::Answer(ID, Answer::CannotBind)),
            (V3, encode_answer(ID, &Answer::TooMany), "03 03 ID 0000", Datagram::Answer(ID, Answer::TooMany)),
            (V3, encode_answer(ID, &failed), "03 ff ID 0002 6e6f", Datagram::Answer(ID, failed.clone())),
            (V3, encode_end(ID), "04 ID", Datagram::End(ID)),
        ] {
            assert_eq!(text(&bytes), layout.replace("ID", ID_HEX).replace(' ', ""));
            assert_eq!(Datagram::decode(version, bytes), Ok(datagram), "{layout}");
        }
    }

    #[test]
    fn what_others_write_is_read_or_refused() {
        use DatagramVersion::{V2, V3};
        let bundled = Datagram::Register(session("192.0.2.1:53", 0), Ends::Silent, Some(Bytes::from_static(b"hi")));
        for (version, layout, expect) in [
            (V3, "00 04 0035 0000 ID c0000201 6869", Ok(bundled)),
            (V3, "00 01 0035 0000 ID c0000201", Err(DatagramError::Short)),
            (V3, "02 45", Ok(Datagram::Other)),
            (V3, "05 ID", Err(DatagramError::UnknownType(5))),
            (V3, "03 04 ID 0000", Err(DatagramError::UnknownCode(4))),
            (V3, "03 ff ID 0003 6e6f", Err(DatagramError::Short)),
            (V3, "03 00 ID", Ok(Datagram::Answer(ID, Answer::Registered))),
            (V3, "", Err(DatagramError::Short)),
            (V2, "", Err(DatagramError::Short)),
            (V2, "ab 00", Err(DatagramError::Short)),
            (V2, "45 01", Ok(Datagram::Other)),
            (V2, "ID 04", Err(DatagramError::UnknownType(4))),
        ] {
            let bytes = crate::hex(&layout.replace("ID", ID_HEX).replace(' ', ""));
            assert_eq!(Datagram::decode(version, bytes.into()), expect, "{layout}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for version in [DatagramVersion::V2, DatagramVersion::V3] {
                let _ = Datagram::decode(version, bytes.clone().into());
            }
        }
    }
}
