//! Who really connected: headers that a proxy puts in front of the bytes it carries.
//!
//! | form | where | text |
//! | --- | --- | --- |
//! | version 1 | in front of a TCP stream | PROXY protocol §2.1: one line of ASCII |
//! | version 2 | in front of a TCP stream, or of a datagram | PROXY protocol §2.2: binary |
//! | simple | in front of every UDP datagram | 38 octets, see [`write_simple`] |
//!
//! The PROXY protocol is the HAProxy project's `proxy-protocol.txt`. Of version 2 we write one extension (TLV, §2.2.6:
//! what is known of a client by its certificate) and skip all that we read, a checksum among them: it guards against accidents only, as TCP's does.
//!
//! Whether a peer may say who its client is, and must, is the caller's business (§2: never guess). All addresses come out
//! as IPv4 where they are (`::ffff:192.0.2.1` is `192.0.2.1`), so that nobody passes a rule in another form.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;

use bartizan_names::Protocol;

/// The longest version 1 line with its CRLF (§2.1, "worst case").
pub const V1_MAX: usize = 107;

/// The longest version 2 header that is read, with its extensions.
///
/// The format allows 64 KB. What proxies add is identity of their client (a certificate's names, a cloud's endpoint):
/// some hundred octets. A limit keeps what an unfinished header may hold in memory small.
pub const V2_MAX: usize = 4_096;

/// The length of a simple header.
pub const SIMPLE_LEN: usize = 38;

/// Octets that are enough for the longest header that [`read`] takes.
pub const HEADER_MAX: usize = V2_MAX;

/// Version 2 begins so, whatever follows (§2.2).
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
const V2_FIXED: usize = V2_SIGNATURE.len() + 4;

/// Version 1 begins so.
const V1_SIGNATURE: [u8; 6] = *b"PROXY ";

const CRLF: &[u8] = b"\r\n";

/// Octets of two addresses and two ports.
const V2_IPV4: usize = 12;
const V2_IPV6: usize = 36;
const V2_UNIX: usize = 216;

const SIMPLE_MAGIC: [u8; 2] = [0x56, 0xec];

/// One client, and the address of a proxy that it dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    pub client: SocketAddr,
    pub dialled: SocketAddr,
}

/// What was read in front of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// None if the proxy speaks for itself (`LOCAL`), or does not say for whom (`UNKNOWN`, other families): then the
    /// addresses of the connection count.
    pub hop: Option<Hop>,
    /// Octets to skip: the payload is behind them.
    pub length: usize,
}

/// Why octets are no header that we take. The connection is to be closed: nothing behind them can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("no PROXY header")]
    Signature,
    #[error("a PROXY line without its end in {V1_MAX} octets")]
    LineTooLong,
    #[error("a malformed PROXY line")]
    Line,
    #[error("version {0} of the PROXY header")]
    Version(u8),
    #[error("command {0} in the PROXY header")]
    Command(u8),
    #[error("family {0:#04x} in the PROXY header")]
    Family(u8),
    #[error("a PROXY header whose {0} octets hold no addresses of its family")]
    TooShort(usize),
    #[error("a PROXY header with {0} octets after its start")]
    TooLong(usize),
    #[error("no simple header in front of the datagram")]
    Simple,
    #[error("a PROXY header that its datagram ends in")]
    Cut,
}

/// A header as it is to be sent: its octets, by `Deref`.
#[derive(Clone, Copy)]
pub struct HeaderBytes {
    bytes: [u8; V1_MAX],
    length: usize,
}

impl HeaderBytes {
    const EMPTY: HeaderBytes = HeaderBytes { bytes: [0; V1_MAX], length: 0 };

    fn push(&mut self, more: &[u8]) {
        let end = self.length + more.len();
        // Whatever is written here is shorter than the longest line: see the table of lengths in the tests.
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(more);
            self.length = end;
        }
    }
}

impl Deref for HeaderBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Write for HeaderBytes {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

impl fmt::Debug for HeaderBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

/// Both addresses in one family: as IPv4 if both are, else as IPv6.
enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Hop {
    fn pair(&self) -> Pair {
        match (self.client.ip().to_canonical(), self.dialled.ip().to_canonical()) {
            (IpAddr::V4(client), IpAddr::V4(dialled)) => Pair::V4(client, dialled),
            (client, dialled) => Pair::V6(to_v6(client), to_v6(dialled)),
        }
    }

    fn new(client: impl Into<IpAddr>, dialled: impl Into<IpAddr>, ports: [u16; 2]) -> Hop {
        let [client_port, dialled_port] = ports;
        Hop {
            client: SocketAddr::new(client.into().to_canonical(), client_port),
            dialled: SocketAddr::new(dialled.into().to_canonical(), dialled_port),
        }
    }
}

fn to_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(four) => four.to_ipv6_mapped(),
        IpAddr::V6(six) => six,
    }
}

/// Version 1, which knows TCP only.
pub fn write_v1(hop: &Hop) -> HeaderBytes {
    let mut line = HeaderBytes::EMPTY;
    line.push(&V1_SIGNATURE);
    match hop.pair() {
        Pair::V4(client, dialled) => push_text(&mut line, format_args!("TCP4 {client} {dialled}")),
        Pair::V6(client, dialled) => push_text(&mut line, format_args!("TCP6 {} {}", Hex(client), Hex(dialled))),
    }
    push_text(&mut line, format_args!(" {} {}\r\n", hop.client.port(), hop.dialled.port()));
    line
}

/// An IPv6 address without the dotted form of its end: the protocol allows hexadecimal digits only.
struct Hex(Ipv6Addr);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_ipv4_mapped().map(Ipv4Addr::to_bits) {
            Some(bits) => write!(f, "::ffff:{:x}:{:x}", bits >> 16, bits & 0xffff),
            None => self.0.fmt(f),
        }
    }
}

fn push_text(line: &mut HeaderBytes, text: fmt::Arguments<'_>) {
    // `HeaderBytes` never says no.
    let _ = fmt::Write::write_fmt(line, text);
}

/// Version 2, without extensions.
pub fn write_v2(hop: &Hop, protocol: Protocol) -> HeaderBytes {
    let transport = match protocol {
        Protocol::Tcp => 1,
        Protocol::Udp => 2,
    };
    let mut header = HeaderBytes::EMPTY;
    header.push(&V2_SIGNATURE);
    match hop.pair() {
        Pair::V4(client, dialled) => {
            header.push(&[0x21, 0x10 | transport, 0, V2_IPV4 as u8]);
            header.push(&client.octets());
            header.push(&dialled.octets());
        }
        Pair::V6(client, dialled) => {
            header.push(&[0x21, 0x20 | transport, 0, V2_IPV6 as u8]);
            header.push(&client.octets());
            header.push(&dialled.octets());
        }
    }
    push_ports(&mut header, hop);
    header
}

/// What a proxy that ends TLS found of a client's certificate (§2.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<'c> {
    /// Whether it has shown one: in this handshake, or in that of the session that it took up again.
    pub certificate: bool,
    /// Zero if that is believed.
    pub verify: u32,
    pub common_name: Option<&'c str>,
}

/// Octets of a common name (RFC 5280, appendix A.1, ub-common-name, of four octets each); a longer one is left out.
const COMMON_NAME_MAX: usize = 256;

const TYPE_SSL: u8 = 0x20;
const SUBTYPE_SSL_CN: u8 = 0x22;

/// Its client came over TLS, has shown a certificate on this connection, and did so in this session.
const CLIENT_SSL: u8 = 1;
const CLIENT_CERT_CONN: u8 = 2;
const CLIENT_CERT_SESS: u8 = 4;

/// Version 2 in front of a TCP stream, with what is known of its client by a certificate.
pub fn write_v2_of_client(hop: &Hop, shown: Shown<'_>) -> Vec<u8> {
    let certificate = if shown.certificate { CLIENT_CERT_CONN | CLIENT_CERT_SESS } else { 0 };
    let mut found = vec![CLIENT_SSL | certificate];
    found.extend(shown.verify.to_be_bytes());
    if let Some(name) = shown.common_name.filter(|name| name.len() <= COMMON_NAME_MAX) {
        push_tlv(&mut found, SUBTYPE_SSL_CN, name.as_bytes());
    }
    let mut header = write_v2(hop, Protocol::Tcp).to_vec();
    push_tlv(&mut header, TYPE_SSL, &found);
    let rest = (header.len() - V2_FIXED) as u16; // some hundred octets
    header[V2_FIXED - 2..V2_FIXED].copy_from_slice(&rest.to_be_bytes());
    header
}

fn push_tlv(to: &mut Vec<u8>, kind: u8, value: &[u8]) {
    to.push(kind);
    to.extend((value.len() as u16).to_be_bytes()); // as above
    to.extend(value);
}

/// The simple header: magic `0x56EC`, client address, dialled address (16 octets each, IPv4 as `::ffff:192.0.2.1`),
/// client port, dialled port, all in network order. It stands in front of each datagram.
// Hot: once a datagram. No allocation.
pub fn write_simple(hop: &Hop) -> HeaderBytes {
    let mut header = HeaderBytes::EMPTY;
    header.push(&SIMPLE_MAGIC);
    header.push(&to_v6(hop.client.ip()).octets());
    header.push(&to_v6(hop.dialled.ip()).octets());
    push_ports(&mut header, hop);
    header
}

fn push_ports(header: &mut HeaderBytes, hop: &Hop) {
    header.push(&hop.client.port().to_be_bytes());
    header.push(&hop.dialled.port().to_be_bytes());
}

/// The header at the start of `input`, version 1 or 2, which differ in their first octet. None: more octets are needed,
/// of at most [`HEADER_MAX`] in all.
pub fn read(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    match input.first() {
        None => Ok(None),
        Some(first) if *first == V2_SIGNATURE[0] => read_v2(input),
        Some(_) => read_v1(input),
    }
}

/// The header of a datagram, version 2 or simple, which differ in their first octet. All of it is there, or none is.
// Hot: once a datagram of a proxy.
pub fn read_datagram(datagram: &[u8]) -> Result<Header, ProxyError> {
    if datagram.first() == Some(&V2_SIGNATURE[0]) {
        return read_v2(datagram)?.ok_or(ProxyError::Cut);
    }
    read_simple(datagram).map(|(hop, length)| Header { hop: Some(hop), length })
}

/// The simple header of a datagram, and where its payload begins.
pub fn read_simple(datagram: &[u8]) -> Result<(Hop, usize), ProxyError> {
    let header: &[u8; SIMPLE_LEN] = datagram.first_chunk().ok_or(ProxyError::Simple)?;
    let addresses = header.strip_prefix(&SIMPLE_MAGIC).ok_or(ProxyError::Simple)?;
    let hop = hop_of_octets::<16>(addresses).ok_or(ProxyError::Simple)?;
    Ok((hop, SIMPLE_LEN))
}

fn read_v1(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    if !begins(input, &V1_SIGNATURE) {
        return Err(ProxyError::Signature);
    }
    let within = &input[..input.len().min(V1_MAX)];
    let Some(end) = within.windows(CRLF.len()).position(|pair| pair == CRLF) else {
        return if input.len() < V1_MAX { Ok(None) } else { Err(ProxyError::LineTooLong) };
    };
    let line = within[..end].strip_prefix(&V1_SIGNATURE).ok_or(ProxyError::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| ProxyError::Line)?;
    let hop = hop_of_line(line)?;
    Ok(Some(Header { hop, length: end + CRLF.len() }))
}

/// The line between `PROXY ` and its end.
fn hop_of_line(line: &str) -> Result<Option<Hop>, ProxyError> {
    // Whatever follows `UNKNOWN` is to be ignored.
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(ProxyError::Line);
    let (family, client, dialled, ports) = (word()?, word()?, word()?, [port(word()?)?, port(word()?)?]);
    if words.next().is_some() {
        return Err(ProxyError::Line);
    }
    let hop = match family {
        "TCP4" => Hop::new(address::<Ipv4Addr>(client)?, address::<Ipv4Addr>(dialled)?, ports),
        "TCP6" => Hop::new(address::<Ipv6Addr>(client)?, address::<Ipv6Addr>(dialled)?, ports),
        _ => return Err(ProxyError::Line),
    };
    Ok(Some(hop))
}

fn address<A: std::str::FromStr>(text: &str) -> Result<A, ProxyError> {
    text.parse().map_err(|_| ProxyError::Line)
}

/// Decimal digits without leading zeros; the library would take those and a sign too.
fn port(text: &str) -> Result<u16, ProxyError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    if !digits || !canonical {
        return Err(ProxyError::Line);
    }
    text.parse().map_err(|_| ProxyError::Line)
}

fn read_v2(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    if !begins(input, &V2_SIGNATURE) {
        return Err(ProxyError::Signature);
    }
    // Each octet is judged when it is there: nobody waits for the rest of what will be refused.
    let Some(&version_and_command) = input.get(12) else { return Ok(None) };
    let command = command(version_and_command)?;
    let Some(&family) = input.get(13) else { return Ok(None) };
    let addresses = match command {
        // Discarded with its family (§2.2).
        Command::Local => V2Addresses::Other,
        Command::Proxy => addresses(family)?,
    };
    let Some(&[high, low]) = input.get(14..V2_FIXED).and_then(|octets| octets.first_chunk()) else { return Ok(None) };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if rest < addresses.least() && command == Command::Proxy {
        return Err(ProxyError::TooShort(rest));
    }
    let length = V2_FIXED + rest;
    if length > V2_MAX {
        return Err(ProxyError::TooLong(rest));
    }
    let Some(block) = input.get(V2_FIXED..length) else { return Ok(None) };
    let hop = match addresses {
        V2Addresses::V4 => hop_of_octets::<4>(block),
        V2Addresses::V6 => hop_of_octets::<16>(block),
        V2Addresses::Unix | V2Addresses::Other => None,
    };
    Ok(Some(Header { hop, length }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Local,
    Proxy,
}

fn command(octet: u8) -> Result<Command, ProxyError> {
    match (octet >> 4, octet & 0xf) {
        (2, 0) => Ok(Command::Local),
        (2, 1) => Ok(Command::Proxy),
        (2, command) => Err(ProxyError::Command(command)),
        (version, _) => Err(ProxyError::Version(version)),
    }
}

/// What a version 2 header says about its addresses.
#[derive(Clone, Copy)]
enum V2Addresses {
    V4,
    V6,
    /// Known and of no use to us: two paths of sockets.
    Unix,
    /// Unspecified, or nothing to look at.
    Other,
}

impl V2Addresses {
    /// Octets that a header of this family has at least.
    fn least(self) -> usize {
        match self {
            V2Addresses::V4 => V2_IPV4,
            V2Addresses::V6 => V2_IPV6,
            V2Addresses::Unix => V2_UNIX,
            V2Addresses::Other => 0,
        }
    }
}

fn addresses(octet: u8) -> Result<V2Addresses, ProxyError> {
    match (octet >> 4, octet & 0xf) {
        // Unspecified family or transport: the addresses should be ignored (§2.2).
        (0, 0..=2) | (1..=3, 0) => Ok(V2Addresses::Other),
        (1, 1 | 2) => Ok(V2Addresses::V4),
        (2, 1 | 2) => Ok(V2Addresses::V6),
        (3, 1 | 2) => Ok(V2Addresses::Unix),
        _ => Err(ProxyError::Family(octet)),
    }
}

/// Two addresses of `WIDTH` octets and two ports.
fn hop_of_octets<const WIDTH: usize>(octets: &[u8]) -> Option<Hop>
where
    IpAddr: From<[u8; WIDTH]>,
{
    let (client, octets) = octets.split_first_chunk::<WIDTH>()?;
    let (dialled, octets) = octets.split_first_chunk::<WIDTH>()?;
    let [a, b, c, d] = *octets.first_chunk()?;
    Some(Hop::new(*client, *dialled, [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]))
}

/// Whether `input` is the start of something that begins with `signature`.
fn begins(input: &[u8], signature: &[u8]) -> bool {
    let known = input.len().min(signature.len());
    input[..known] == signature[..known]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hop(client: &str, dialled: &str) -> Hop {
        Hop { client: client.parse().unwrap(), dialled: dialled.parse().unwrap() }
    }

    /// `0d 0a 51` as octets; blanks where they help.
    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        hex::decode(digits).unwrap()
    }

    const V2: &str = "0d0a0d0a000d0a515549540a";

    #[test]
    fn version_1_as_written() {
        for (client, dialled, line) in [
            // The example of §2.1.
            ("192.168.0.1:56324", "192.168.0.11:443", "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
            ("[2001:db8::1]:1", "[2001:db8::2]:65535", "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"),
            ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
            ("192.0.2.1:1", "[2001:db8::2]:2", "PROXY TCP6 ::ffff:c000:201 2001:db8::2 1 2\r\n"),
            (
                "255.255.255.255:65535",
                "255.255.255.255:65535",
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            ),
            (
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            ),
        ] {
            assert_eq!(*write_v1(&hop(client, dialled)), *line.as_bytes(), "{line}");
        }
    }

    #[test]
    fn version_2_as_written() {
        for (client, dialled, protocol, octets) in [
            ("192.0.2.1:4660", "198.51.100.2:22", Protocol::Tcp, "21 11 000c c0000201 c6336402 1234 0016"),
            ("192.0.2.1:4660", "198.51.100.2:53", Protocol::Udp, "21 12 000c c0000201 c6336402 1234 0035"),
            (
                "[2001:db8::1]:4660",
                "[2001:db8::2]:22",
                Protocol::Tcp,
                "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 1234 0016",
            ),
            (
                "192.0.2.1:4660",
                "[2001:db8::2]:22",
                Protocol::Udp,
                "21 22 0024 00000000000000000000ffffc0000201 20010db8000000000000000000000002 1234 0016",
            ),
        ] {
            let expect = [hex(V2), hex(octets)].concat();
            assert_eq!(*write_v2(&hop(client, dialled), protocol), expect, "{client} {dialled} {protocol}");
        }
    }

    /// §2.2.6, as HAProxy's `send-proxy-v2-ssl-cn` has it.
    #[test]
    fn version_2_of_a_client_with_a_certificate() {
        let hop = hop("192.0.2.1:4660", "198.51.100.2:443");
        let start = "0d0a0d0a000d0a515549540a 21 11";
        let addresses = "c0000201 c6336402 1234 01bb";
        for (shown, expect) in [
            (Shown { certificate: false, verify: 1, common_name: None }, "0014 @ 20 0005 01 00000001"),
            (
                Shown { certificate: true, verify: 0, common_name: Some("dev-7") },
                "001c @ 20 000d 07 00000000 22 0005 6465762d37",
            ),
            (
                Shown { certificate: true, verify: 10, common_name: Some(&"x".repeat(257)) },
                "0014 @ 20 0005 07 0000000a",
            ),
        ] {
            let (length, rest) = expect.split_once('@').unwrap();
            let written = write_v2_of_client(&hop, shown);
            assert_eq!(written, hex(&format!("{start} {length} {addresses} {rest}")), "{shown:?}");
            let read = read(&[&written[..], b"payload"].concat()).unwrap().unwrap();
            assert_eq!(read, Header { hop: Some(hop), length: written.len() });
        }
    }

    #[test]
    fn simple_as_written() {
        for (client, dialled, octets) in [
            (
                "192.0.2.1:4660",
                "198.51.100.2:53",
                "56ec 00000000000000000000ffffc0000201 00000000000000000000ffffc6336402 1234 0035",
            ),
            (
                "[2001:db8::1]:1",
                "[2001:db8::2]:2",
                "56ec 20010db8000000000000000000000001 20010db8000000000000000000000002 0001 0002",
            ),
        ] {
            assert_eq!(*write_simple(&hop(client, dialled)), hex(octets), "{client} {dialled}");
            let datagram = [hex(octets), b"payload".to_vec()].concat();
            assert_eq!(read_simple(&datagram), Ok((hop(client, dialled), 38)));
        }
        for datagram in
            [&b""[..], &[0x56], &[0x56, 0xec], &[0; 38], &write_simple(&hop("192.0.2.1:1", "192.0.2.2:2"))[..37]]
        {
            assert_eq!(read_simple(datagram), Err(ProxyError::Simple), "{datagram:?}");
        }
    }

    #[test]
    fn version_1_as_read() {
        let four = hop("192.0.2.1:1", "192.0.2.2:2");
        let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for (line, expect) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Ok(Some(Some(four)))),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nSSH-2.0-x\r\n", Ok(Some(Some(four)))),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::FFFF:C000:202 1 2\r\n", Ok(Some(Some(four)))),
            (
                "PROXY TCP6 2001:DB8::1 2001:db8::2 0 65535\r\n",
                Ok(Some(Some(hop("[2001:db8::1]:0", "[2001:db8::2]:65535")))),
            ),
            ("PROXY UNKNOWN\r\n", Ok(Some(None))),
            ("PROXY UNKNOWN \r\n", Ok(Some(None))),
            (&format!("PROXY UNKNOWN {all} {all} 65535 65535\r\n"), Ok(Some(None))),
            ("PROXY UNKNOWN \n\r \r\n", Ok(Some(None))),
            ("", Ok(None)),
            ("P", Ok(None)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2", Ok(None)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r", Ok(None)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", Ok(None)),
            ("GET / HTTP/1.1\r\n", Err(ProxyError::Signature)),
            ("PROXX", Err(ProxyError::Signature)),
            ("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Err(ProxyError::Signature)),
            ("PROXY\r\n", Err(ProxyError::Signature)),
            ("PROXY \r\n", Err(ProxyError::Line)),
            ("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 00 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP6 2001:db8::1 192.0.2.2 1 2\r\n", Err(ProxyError::Line)),
            ("PROXY TCP6 fe80::1%1 fe80::2 1 2\r\n", Err(ProxyError::Line)),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", Err(ProxyError::Line)),
            ("PROXY UNKNOWNX\r\n", Err(ProxyError::Line)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rx\r\n", Err(ProxyError::Line)),
            (&format!("PROXY UNKNOWN {all} {all} 65535 655355\r\n"), Err(ProxyError::LineTooLong)),
            (&format!("PROXY {}", "x".repeat(101)), Err(ProxyError::LineTooLong)),
            (&format!("PROXY {}", "x".repeat(100)), Ok(None)),
        ] {
            let found = read(line.as_bytes()).map(|header| header.map(|header| header.hop));
            assert_eq!(found, expect, "{line:?}");
        }
        let longest = format!("PROXY UNKNOWN {all} {all} 65535 65535\r\n");
        assert_eq!((longest.len(), read(longest.as_bytes())), (107, Ok(Some(Header { hop: None, length: 107 }))));
        assert_eq!(read(b"PROXY \xff\xff\r\n"), Err(ProxyError::Line));
    }

    #[test]
    fn version_2_as_read() {
        let four = hop("192.0.2.1:4660", "198.51.100.2:22");
        let six = hop("[2001:db8::1]:4660", "[2001:db8::2]:22");
        let six_octets = "20010db8000000000000000000000001 20010db8000000000000000000000002 1234 0016";
        let mapped = "00000000000000000000ffffc0000201 00000000000000000000ffffc6336402 1234 0016";
        let some = |hop, length| Ok(Some(Header { hop, length }));
        for (octets, expect) in [
            ("21 11 000c c0000201 c6336402 1234 0016", some(Some(four), 28)),
            ("21 12 000c c0000201 c6336402 1234 0016", some(Some(four), 28)),
            // With a TLV (a unique id, 0x05), and with payload behind.
            ("21 11 0011 c0000201 c6336402 1234 0016 05 0002 abcd 5353", some(Some(four), 33)),
            (&format!("21 21 0024 {six_octets}"), some(Some(six), 52)),
            (&format!("21 22 0024 {mapped}"), some(Some(four), 52)),
            (&format!("21 31 00d8 {}", "00".repeat(216)), some(None, 232)),
            ("21 00 0000", some(None, 16)),
            ("21 00 0004 01020304 5353", some(None, 20)),
            ("21 01 0000", some(None, 16)),
            ("21 10 000c c0000201 c6336402 1234 0016", some(None, 28)),
            ("20 00 0000", some(None, 16)),
            // A check of the proxy's own: whatever its family says is ignored, its length is not.
            ("20 ff 0002 ffff", some(None, 18)),
            ("20 11 0000", some(None, 16)),
            ("", Ok(None)),
            ("21", Ok(None)),
            ("21 11", Ok(None)),
            ("21 11 00", Ok(None)),
            ("21 11 000c", Ok(None)),
            ("21 11 000c c0000201 c6336402 1234 00", Ok(None)),
            ("11", Err(ProxyError::Version(1))),
            ("31", Err(ProxyError::Version(3))),
            ("22", Err(ProxyError::Command(2))),
            ("21 41", Err(ProxyError::Family(0x41))),
            ("21 13", Err(ProxyError::Family(0x13))),
            ("21 11 000b", Err(ProxyError::TooShort(11))),
            ("21 21 0023", Err(ProxyError::TooShort(35))),
            ("21 31 00d7", Err(ProxyError::TooShort(215))),
            ("21 11 0ff1", Err(ProxyError::TooLong(4_081))),
            ("21 11 0ff0", Ok(None)),
            ("20 00 ffff", Err(ProxyError::TooLong(65_535))),
        ] {
            assert_eq!(read(&[hex(V2), hex(octets)].concat()), expect, "{octets}");
        }
        assert_eq!(read(&hex("0d0a0d0a000d0a515549540b")), Err(ProxyError::Signature));
        assert_eq!(read(b"\r\nGET"), Err(ProxyError::Signature));
        assert_eq!(read(b"\r\n\r\n\0"), Ok(None));
    }

    /// Addresses in their one form: no IPv4 in IPv6 clothes, no scope.
    fn sockets() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(|(address, port)| SocketAddr::new(address.to_canonical(), port))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(client in sockets(), dialled in sockets(), payload: Vec<u8>) {
            let hop = Hop { client, dialled };
            for header in [write_v1(&hop), write_v2(&hop, Protocol::Tcp), write_v2(&hop, Protocol::Udp)] {
                let length = header.len();
                let stream = [&header, &payload[..]].concat();
                prop_assert_eq!(read(&stream), Ok(Some(Header { hop: Some(hop), length })));
                for cut in 0..length {
                    prop_assert_eq!(read(&stream[..cut]), Ok(None));
                }
            }
            let datagram = [&write_simple(&hop), &payload[..]].concat();
            prop_assert_eq!(read_simple(&datagram), Ok((hop, SIMPLE_LEN)));
            for header in [write_v2(&hop, Protocol::Udp), write_simple(&hop)] {
                let length = header.len();
                let datagram = [&header, &payload[..]].concat();
                prop_assert_eq!(read_datagram(&datagram), Ok(Header { hop: Some(hop), length }));
                for cut in 0..length {
                    prop_assert!(read_datagram(&datagram[..cut]).is_err());
                }
            }
        }

        #[test]
        fn any_octets_are_taken_or_refused(start in 0..4_usize, octets: Vec<u8>) {
            let starts: [&[u8]; 4] = [b"", &V1_SIGNATURE, &V2_SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"];
            let input = [starts[start], &octets].concat();
            if let Ok(Some(header)) = read(&input) {
                prop_assert!(header.length <= input.len().min(HEADER_MAX));
            }
            let _ = read_simple(&input);
            if let Ok(header) = read_datagram(&input) {
                prop_assert!(header.length <= input.len());
            }
        }
    }
}
