//! EDNS options: what a client asks for beside its question, and what an answer says beside its records (RFC 6891
//! §6.1.2).
//!
//! Options that we do not know are passed over, as §6.1.2 wants it.
//!
//! RFC 5001 (NSID), 7828 (keepalive), 7830 (padding), 7871 (client subnet), 7873 (cookies), 8914 (extended errors).

use std::net::IpAddr;

use super::u16_at;

/// Codes of options (IANA, "DNS EDNS0 Option Codes").
const NSID: u16 = 3;
const CLIENT_SUBNET: u16 = 8;
const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;
const PADDING: u16 = 12;
const EXTENDED_ERROR: u16 = 15;

/// Code and length in front of each option's data.
pub(super) const OPTION_HEADER: usize = 4;

/// The two forms of a cookie option: the client's half alone, or with a server's (RFC 7873 §4).
const CLIENT_COOKIE_BYTES: usize = 8;
const SERVER_COOKIE_BYTES: std::ops::RangeInclusive<usize> = 8..=32;

/// Address families (IANA, "Address Family Numbers") and how long their prefixes may be.
const FAMILIES: [(u16, u8); 3] = [(0, 0), (1, 32), (2, 128)];

/// Family, source and scope prefix length in front of a subnet's address, and the longest address.
const SUBNET_HEADER: usize = 4;
const SUBNET_MAX: usize = SUBNET_HEADER + 16;

/// An identity longer than this is cut, so that every option fits beside every question in 512 bytes.
const NSID_MAX: usize = 64;

/// All options that an answer can have, each at its longest; but padding, which takes what is left, and the extended
/// error, which is left out where there is no room.
const ADDED_MAX: usize =
    4 * OPTION_HEADER + NSID_MAX + SUBNET_MAX + CLIENT_COOKIE_BYTES + *SERVER_COOKIE_BYTES.end() + 2;

/// The options of a query: well-formed as far as we know them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'m>(&'m [u8]);

/// What the options of a query ask for. Of several with one code the first counts (RFC 7873 §5.2.1; other standards do
/// not say).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked<'m> {
    /// Which server answers (RFC 5001).
    pub nsid: bool,
    /// How long the connection is kept (RFC 7828). Means nothing over UDP.
    pub keepalive: bool,
    /// That the answer be padded where nobody shall see its length (RFC 7830 §4).
    pub padding: bool,
    pub cookie: Option<Cookie<'m>>,
    pub subnet: Option<Subnet<'m>>,
}

/// A cookie as a client sends it (RFC 7873 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie<'m> {
    pub client: &'m [u8; CLIENT_COOKIE_BYTES],
    /// What a server once gave it, 8 to 32 bytes; empty if it has none of ours yet.
    pub server: &'m [u8],
}

/// Whom a resolver asks for (RFC 7871 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet<'m> {
    /// The option's data, of a length that fits its prefix.
    data: &'m [u8],
}

impl<'m> Options<'m> {
    /// None if they do not fill `data` exactly, or if one that we know does not have the form of its standard.
    pub fn parse(data: &'m [u8]) -> Option<Options<'m>> {
        Asked::read(data).map(|_| Options(data))
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn asked(self) -> Asked<'m> {
        Asked::read(self.0).unwrap_or_default()
    }

    pub(super) fn as_bytes(self) -> &'m [u8] {
        self.0
    }
}

impl<'m> Asked<'m> {
    fn read(mut data: &'m [u8]) -> Option<Asked<'m>> {
        let mut asked = Asked::default();
        while !data.is_empty() {
            let (code, length) = (u16_at(data, 0)?, u16_at(data, 2)?);
            let (option, rest) = data[OPTION_HEADER..].split_at_checked(usize::from(length))?;
            data = rest;
            match code {
                NSID => asked.nsid = true,
                KEEPALIVE => asked.keepalive = true,
                PADDING => asked.padding = true,
                COOKIE if asked.cookie.is_none() => asked.cookie = Some(Cookie::read(option)?),
                CLIENT_SUBNET if asked.subnet.is_none() => asked.subnet = Some(Subnet::read(option)?),
                _ => {}
            }
        }
        Some(asked)
    }
}

impl<'m> Cookie<'m> {
    /// RFC 7873 §5.2.2: any other length is FORMERR.
    fn read(data: &'m [u8]) -> Option<Cookie<'m>> {
        let (client, server) = data.split_first_chunk()?;
        (server.is_empty() || SERVER_COOKIE_BYTES.contains(&server.len())).then_some(Cookie { client, server })
    }
}

impl<'m> Subnet<'m> {
    /// RFC 7871 §6 and §7.1.2: a known family, no scope yet, and an address of as many bytes as the prefix needs with no bit set
    /// behind it. Everything else is FORMERR.
    fn read(data: &'m [u8]) -> Option<Subnet<'m>> {
        let ([family_hi, family_lo, source, 0], address) = data.split_first_chunk()? else { return None };
        let family = u16::from_be_bytes([*family_hi, *family_lo]);
        let is_known = FAMILIES.iter().any(|(known, longest)| *known == family && source <= longest);
        let unused = (8 - source % 8) % 8;
        let is_clean = address.last().is_none_or(|last| last.trailing_zeros() >= u32::from(unused));
        let is_whole = address.len() == usize::from(source.div_ceil(8));
        (is_known && is_clean && is_whole).then_some(Subnet { data })
    }

    /// The first address of the network; none of one that is everybody.
    pub fn address(&self) -> Option<IpAddr> {
        let ([_, family, source, _], given) = self.data.split_first_chunk()?;
        if *source == 0 {
            return None;
        }
        if *family == 1 {
            let mut octets = [0; 4];
            octets.get_mut(..given.len())?.copy_from_slice(given);
            Some(octets.into())
        } else {
            let mut octets = [0; 16];
            octets.get_mut(..given.len())?.copy_from_slice(given);
            Some(octets.into())
        }
    }
}

/// What is wrong, in more detail than a response code (RFC 8914 §4). For whoever reads it; no client acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedError(pub u16);

impl ExtendedError {
    pub const OTHER: ExtendedError = ExtendedError(0);
    /// The server is up and does not have what it needs yet.
    pub const NOT_READY: ExtendedError = ExtendedError(14);
    pub const PROHIBITED: ExtendedError = ExtendedError(18);
    pub const NOT_AUTHORITATIVE: ExtendedError = ExtendedError(20);
    pub const NOT_SUPPORTED: ExtendedError = ExtendedError(21);
    /// A type that can only stand in answers (RFC 9824 §3.5).
    pub const INVALID_QUERY_TYPE: ExtendedError = ExtendedError(30);
}

/// The options that an answer gets. Kept by who writes answers, and emptied for each.
#[derive(Debug)]
pub struct Added {
    bytes: [u8; ADDED_MAX],
    len: usize,
}

impl Default for Added {
    fn default() -> Added {
        Added { bytes: [0; ADDED_MAX], len: 0 }
    }
}

impl Added {
    pub fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Says which server this is; only who asked is told (RFC 5001 §2.2).
    pub fn nsid(&mut self, identity: &[u8]) {
        self.push(NSID, &[&identity[..identity.len().min(NSID_MAX)]]);
    }

    /// Gives the client its cookie back, with ours (RFC 7873 §5.2).
    pub fn cookie(&mut self, client: &[u8; CLIENT_COOKIE_BYTES], server: &[u8]) {
        self.push(COOKIE, &[client, server]);
    }

    /// Says how long the connection may be silent, in tenths of a second (RFC 7828 §3.1).
    pub fn keepalive(&mut self, tenths: u16) {
        self.push(KEEPALIVE, &[&tenths.to_be_bytes()]);
    }

    /// Repeats for whom was asked, and that the answer is the same for everybody (RFC 7871 §7.2.1: scope 0).
    pub fn subnet(&mut self, subnet: Subnet<'_>) {
        self.push(CLIENT_SUBNET, &[subnet.data]);
    }

    /// Adds an option; leaves it out where there is no room, which is where one is added twice.
    fn push(&mut self, code: u16, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let header = option_header(code, length);
        let Some(place) = self.bytes.get_mut(self.len..self.len + OPTION_HEADER + length) else { return };
        let (head, mut rest) = place.split_at_mut(OPTION_HEADER);
        head.copy_from_slice(&header);
        for part in parts {
            let (place, behind) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = behind;
        }
        self.len += OPTION_HEADER + length;
    }
}

/// In options that were added: the scope of a client subnet becomes what its source is.
pub(super) fn narrow(mut added: &mut [u8]) {
    while let Some((code, length)) = u16_at(added, 0).zip(u16_at(added, 2)) {
        let Some((option, rest)) = added[OPTION_HEADER..].split_at_mut_checked(usize::from(length)) else { return };
        if code == CLIENT_SUBNET
            && let [_, _, source, scope, ..] = option
        {
            *scope = *source;
        }
        added = rest;
    }
}

fn option_header(code: u16, length: usize) -> [u8; OPTION_HEADER] {
    let ([code_hi, code_lo], [length_hi, length_lo]) = (code.to_be_bytes(), (length as u16).to_be_bytes());
    [code_hi, code_lo, length_hi, length_lo]
}

/// An extended error without text.
pub(super) const EXTENDED_ERROR_BYTES: usize = OPTION_HEADER + 2;

pub(super) fn extended_error(error: ExtendedError) -> [u8; EXTENDED_ERROR_BYTES] {
    let [a, b, c, d] = option_header(EXTENDED_ERROR, 2);
    let [hi, lo] = error.0.to_be_bytes();
    [a, b, c, d, hi, lo]
}

/// The header of a padding option, whose data is zeros (RFC 7830 §3).
pub(super) fn padding(length: usize) -> [u8; OPTION_HEADER] {
    option_header(PADDING, length)
}
