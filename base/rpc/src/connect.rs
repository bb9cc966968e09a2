//! The head of a data stream: signature, version, and one message. What follows are the raw bytes of the body.
//!
//! `encode` and `decode` are pure; `read_*` take exactly the bytes of a head off a stream and not one more.

use std::io;

use bytes::Bytes;
use capnp::message::{Builder, HeapAllocator, ReaderOptions};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::tunnel_capnp::{ConnectionType, connect_request, connect_response, metadata};

/// What a data stream begins with.
pub const DATA_SIGNATURE: [u8; 6] = [0x0A, 0x36, 0xCD, 0x12, 0xA1, 0x3E];
/// What a stream for remote calls begins with.
pub const RPC_SIGNATURE: [u8; 6] = [0x52, 0xBB, 0x82, 0x5C, 0xDB, 0x65];
/// What connectors of ours list among their features. Then they read the metadata entries `Bartizan-…` too.
pub const OUR_FEATURE: &str = "bartizan_1";
/// The one version of data streams.
const VERSION: [u8; 2] = *b"01";

/// The most bytes of a message. An edge forwards 32 KiB of header fields at most; origins send more, and each field
/// costs up to 40 bytes of framing.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// The most metadata entries of a message: 128 header fields forth, and some room for origins that set many cookies.
pub const METADATA_MAX: usize = 512;
/// The most segments of a message. The stock connector writes one; more are legal and never needed for a head.
const SEGMENTS_MAX: usize = 64;
const WORD: usize = 8;

/// Each word is looked at once; pointers that share a target would be looked at more often, and are refused.
const READER: ReaderOptions =
    ReaderOptions { traversal_limit_in_words: Some(MESSAGE_BYTES_MAX / WORD), nesting_limit: 8 };

/// The head of a stream is not one.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    #[error("the stream ended or broke inside its head")]
    Io(#[from] io::Error),
    #[error("the stream does not begin with a known signature")]
    Signature,
    #[error("version {0:?} of data streams is not known")]
    Version([u8; 2]),
    #[error("the message is larger than {MESSAGE_BYTES_MAX} bytes, or has too many parts")]
    TooLarge,
    #[error("the message has more than {METADATA_MAX} metadata entries")]
    TooManyEntries,
    #[error("the message is not well formed: {0}")]
    Malformed(#[from] capnp::Error),
    #[error("text of the message is not UTF-8")]
    Text,
    #[error("the connection type is not known")]
    UnknownKind,
}

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    Data,
    Rpc,
}

/// What is asked for over a data stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectKind {
    Http,
    /// An HTTP request that asks for an upgrade; after the head of a 101 the stream carries frames.
    WebSocket,
    /// Bytes to an address.
    Tcp,
}

/// A key and its value. Header fields have the key `HttpHeader:Name`, once for each value. What was read shares the
/// memory of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// UTF-8.
    key: Bytes,
    /// Not always UTF-8: header values may hold any byte above 0x7F.
    pub value: Bytes,
}

/// An entry that is written, from wherever its texts are.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'e> {
    prefix: &'static str,
    name: &'e [u8],
    value: &'e [u8],
}

impl<'e> Entry<'e> {
    pub fn new(key: &'e str, value: &'e [u8]) -> Entry<'e> {
        Entry { prefix: "", name: key.as_bytes(), value }
    }

    /// A header field.
    pub fn header(name: &'e [u8], value: &'e [u8]) -> Entry<'e> {
        Entry { prefix: Metadata::HEADER, name, value }
    }

    /// The field's name, if this is a header field.
    pub(crate) fn header_name(&self) -> Option<&'e [u8]> {
        (self.prefix == Metadata::HEADER).then_some(self.name)
    }

    /// Its key, if it is none.
    pub(crate) fn key(&self) -> Option<&'e [u8]> {
        self.prefix.is_empty().then_some(self.name)
    }

    pub(crate) fn value(&self) -> &'e [u8] {
        self.value
    }

    fn key_bytes(&self) -> usize {
        self.prefix.len() + self.name.len()
    }
}

impl<'e> From<&'e Metadata> for Entry<'e> {
    fn from(entry: &'e Metadata) -> Entry<'e> {
        Entry { prefix: "", name: &entry.key, value: &entry.value }
    }
}

/// Edge to connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// An absolute URL, or `address:port`.
    pub dest: String,
    pub kind: ConnectKind,
    pub metadata: Vec<Metadata>,
}

/// Connector to edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// Why the origin could not be reached; empty when it was.
    pub error: String,
    pub metadata: Vec<Metadata>,
}

impl Metadata {
    pub const METHOD: &'static str = "HttpMethod";
    pub const HOST: &'static str = "HttpHost";
    pub const STATUS: &'static str = "HttpStatus";
    /// With a TCP connection: the client's address, and the address of the edge that it dialled. For connectors that
    /// list [`OUR_FEATURE`].
    pub const CLIENT: &'static str = "Bartizan-Client";
    pub const DIALLED: &'static str = "Bartizan-Dialled";
    /// With the error of an answer: why there is none, in a word. Only connectors of ours say it.
    pub const FAULT: &'static str = "Bartizan-Fault";
    const HEADER: &'static str = "HttpHeader:";

    pub fn new(key: &str, value: impl Into<Bytes>) -> Metadata {
        Metadata { key: Bytes::copy_from_slice(key.as_bytes()), value: value.into() }
    }

    /// A header field.
    pub fn header(name: &str, value: &[u8]) -> Metadata {
        Metadata { key: [Metadata::HEADER, name].concat().into(), value: Bytes::copy_from_slice(value) }
    }

    /// The field's name, if this is a header field.
    pub fn header_name(&self) -> Option<&str> {
        std::str::from_utf8(self.key.strip_prefix(Metadata::HEADER.as_bytes())?).ok()
    }
}

impl ConnectRequest {
    /// The value of the first entry under `key`, if it is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        text_of(&self.metadata, key)
    }

    /// The whole head, ready to send.
    pub fn encode(&self) -> Vec<u8> {
        encode_request(&self.dest, self.kind, || self.metadata.iter().map(Entry::from))
    }

    /// Reads the message of a head (what follows signature and version).
    pub fn decode(message: impl Into<Bytes>) -> Result<ConnectRequest, HeadError> {
        let message = message.into();
        let reader = capnp::serialize::read_message_from_flat_slice(&mut &*message, READER)?;
        let root = reader.get_root::<connect_request::Reader<'_>>()?;
        Ok(ConnectRequest {
            dest: text(root.get_dest()?)?,
            kind: match root.get_type() {
                Ok(ConnectionType::Http) => ConnectKind::Http,
                Ok(ConnectionType::Websocket) => ConnectKind::WebSocket,
                Ok(ConnectionType::Tcp) => ConnectKind::Tcp,
                Err(_) => return Err(HeadError::UnknownKind),
            },
            metadata: get_metadata(root.get_metadata()?, &message)?,
        })
    }
}

impl ConnectResponse {
    /// The value of the first entry under `key`, if it is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        text_of(&self.metadata, key)
    }

    /// The whole head, ready to send.
    pub fn encode(&self) -> Vec<u8> {
        encode_response(&self.error, || self.metadata.iter().map(Entry::from))
    }

    /// Reads the message of a head (what follows signature and version).
    pub fn decode(message: impl Into<Bytes>) -> Result<ConnectResponse, HeadError> {
        let message = message.into();
        let reader = capnp::serialize::read_message_from_flat_slice(&mut &*message, READER)?;
        let root = reader.get_root::<connect_response::Reader<'_>>()?;
        Ok(ConnectResponse { error: text(root.get_error()?)?, metadata: get_metadata(root.get_metadata()?, &message)? })
    }
}

/// The whole head of a request, ready to send. The entries are gone through more than once.
pub fn encode_request<'e, I: Iterator<Item = Entry<'e>>>(
    dest: &str,
    kind: ConnectKind,
    entries: impl Fn() -> I,
) -> Vec<u8> {
    let (mut message, words) = builder(dest.len(), entries());
    let mut root = message.init_root::<connect_request::Builder<'_>>();
    root.set_dest(dest);
    root.set_type(match kind {
        ConnectKind::Http => ConnectionType::Http,
        ConnectKind::WebSocket => ConnectionType::Websocket,
        ConnectKind::Tcp => ConnectionType::Tcp,
    });
    set_metadata(entries, |count| root.reborrow().init_metadata(count));
    head(&message, words)
}

/// The same of an answer.
pub fn encode_response<'e, I: Iterator<Item = Entry<'e>>>(error: &str, entries: impl Fn() -> I) -> Vec<u8> {
    let (mut message, words) = builder(error.len(), entries());
    let mut root = message.init_root::<connect_response::Builder<'_>>();
    root.set_error(error);
    set_metadata(entries, |count| root.reborrow().init_metadata(count));
    head(&message, words)
}

/// The signature that a stream of the other side begins with.
pub async fn read_stream_kind(from: &mut (impl AsyncRead + Unpin)) -> Result<StreamKind, HeadError> {
    let mut signature = [0; 6];
    from.read_exact(&mut signature).await?;
    match signature {
        DATA_SIGNATURE => Ok(StreamKind::Data),
        RPC_SIGNATURE => Ok(StreamKind::Rpc),
        _ => Err(HeadError::Signature),
    }
}

/// Reads the rest of the head of a data stream whose signature was read.
pub async fn read_request(from: &mut (impl AsyncRead + Unpin)) -> Result<ConnectRequest, HeadError> {
    ConnectRequest::decode(read_message(from).await?)
}

/// Reads the head of the answer, signature included.
pub async fn read_response(from: &mut (impl AsyncRead + Unpin)) -> Result<ConnectResponse, HeadError> {
    match read_stream_kind(from).await? {
        StreamKind::Data => ConnectResponse::decode(read_message(from).await?),
        StreamKind::Rpc => Err(HeadError::Signature),
    }
}

/// Version and message. Framing: number of segments less one, the words of each, padded to a whole word (u32, little
/// endian), then the segments. A message of one segment is read in two steps.
async fn read_message(from: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, HeadError> {
    let mut start = [0; 2 + WORD];
    from.read_exact(&mut start).await?;
    let ([v0, v1], table) = (VERSION, &start[2..]);
    if start[..2] != [v0, v1] {
        return Err(HeadError::Version([start[0], start[1]]));
    }
    let segments = u32::from_le_bytes([table[0], table[1], table[2], table[3]]) as usize;
    if segments >= SEGMENTS_MAX {
        return Err(HeadError::TooLarge);
    }
    let table_bytes = (4 + 4 * (segments + 1)).next_multiple_of(WORD);
    let mut whole_table = [0; (4 + 4 * SEGMENTS_MAX).next_multiple_of(WORD)];
    whole_table[..WORD].copy_from_slice(table);
    if table_bytes > WORD {
        from.read_exact(&mut whole_table[WORD..table_bytes]).await?;
    }
    let words: u64 = whole_table[4..4 + 4 * (segments + 1)]
        .chunks_exact(4)
        .map(|size| u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]])))
        .sum();
    if words > (MESSAGE_BYTES_MAX / WORD) as u64 {
        return Err(HeadError::TooLarge);
    }
    let mut message = vec![0; table_bytes + words as usize * WORD];
    message[..table_bytes].copy_from_slice(&whole_table[..table_bytes]);
    from.read_exact(&mut message[table_bytes..]).await?;
    Ok(message)
}

/// A builder whose first segment holds the whole message, and its words: other implementations like one segment best.
fn builder<'e>(text_bytes: usize, entries: impl Iterator<Item = Entry<'e>>) -> (Builder<HeapAllocator>, usize) {
    const ENTRY_WORDS: usize = 2;
    const ROOT_WORDS: usize = 8;
    let words = |bytes: usize| bytes / WORD + 1;
    let metadata: usize = entries.map(|entry| ENTRY_WORDS + words(entry.key_bytes()) + words(entry.value.len())).sum();
    let total = ROOT_WORDS + words(text_bytes) + metadata;
    (Builder::new(HeapAllocator::new().first_segment_words(u32::try_from(total).unwrap_or(u32::MAX))), total)
}

fn head(message: &Builder<HeapAllocator>, words: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(DATA_SIGNATURE.len() + VERSION.len() + (1 + words) * WORD);
    head.extend_from_slice(&DATA_SIGNATURE);
    head.extend_from_slice(&VERSION);
    // Writing to memory does not fail.
    let _ = capnp::serialize::write_message(&mut head, message);
    head
}

fn set_metadata<'a, 'e, I: Iterator<Item = Entry<'e>>>(
    entries: impl Fn() -> I,
    init: impl FnOnce(u32) -> capnp::struct_list::Builder<'a, metadata::Owned>,
) {
    // More entries than the peer would read are cut; callers stay far below.
    let count = entries().count().min(METADATA_MAX) as u32;
    let mut list = init(count);
    for (at, entry) in (0..count).zip(entries()) {
        let mut to = list.reborrow().get(at);
        let key = to.reborrow().init_key(entry.key_bytes() as u32).as_bytes_mut();
        let (prefix, name) = key.split_at_mut(entry.prefix.len());
        prefix.copy_from_slice(entry.prefix.as_bytes());
        name.copy_from_slice(entry.name);
        to.set_val(capnp::text::Reader(entry.value));
    }
}

/// The entries of a message that was read in place.
fn get_metadata(
    list: capnp::struct_list::Reader<'_, metadata::Owned>,
    message: &Bytes,
) -> Result<Vec<Metadata>, HeadError> {
    if list.len() as usize > METADATA_MAX {
        return Err(HeadError::TooManyEntries);
    }
    list.iter()
        .map(|entry| {
            let (key, value) = (entry.get_key()?.as_bytes(), entry.get_val()?.as_bytes());
            std::str::from_utf8(key).map_err(|_| HeadError::Text)?;
            Ok(Metadata { key: part(message, key), value: part(message, value) })
        })
        .collect()
}

/// A text of a message that was read in place, which is there with its bytes unless it has none.
fn part(message: &Bytes, text: &[u8]) -> Bytes {
    if text.is_empty() { Bytes::new() } else { message.slice_ref(text) }
}

fn text(text: capnp::text::Reader<'_>) -> Result<String, HeadError> {
    text.to_string().map_err(|_| HeadError::Text)
}

fn text_of<'m>(entries: &'m [Metadata], key: &str) -> Option<&'m str> {
    let entry = entries.iter().find(|entry| *entry.key == *key.as_bytes())?;
    std::str::from_utf8(&entry.value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> ConnectRequest {
        ConnectRequest {
            dest: "http://app.example.com/a?b=c".to_owned(),
            kind: ConnectKind::Http,
            metadata: vec![
                Metadata::new(Metadata::METHOD, "GET"),
                Metadata::new(Metadata::HOST, "app.example.com"),
                Metadata::header("X-Latin", b"caf\xE9"),
            ],
        }
    }

    /// Reads `head` and tells how much of what follows was left alone.
    async fn read(head: &[u8]) -> Result<(ConnectRequest, usize), HeadError> {
        let mut rest = head;
        assert_eq!(read_stream_kind(&mut rest).await?, StreamKind::Data);
        Ok((read_request(&mut rest).await?, rest.len()))
    }

    #[tokio::test]
    async fn a_head_is_read_to_its_last_byte_and_no_further() {
        let mut bytes = request().encode();
        assert_eq!(bytes[..12], *b"\x0A\x36\xCD\x12\xA1\x3E01\0\0\0\0", "one segment");
        bytes.extend_from_slice(b"body");
        assert_eq!(read(&bytes).await.unwrap(), (request(), 4));

        let response = ConnectResponse { error: String::new(), metadata: vec![Metadata::new("HttpStatus", "200")] };
        assert_eq!(read_response(&mut &*response.encode()).await.unwrap(), response);
    }

    #[tokio::test]
    async fn an_answer_of_the_stock_connector() {
        let bytes = crate::hex(include_str!("../testdata/stock-response.hex"));
        let mut rest = &*bytes;
        let response = read_response(&mut rest).await.unwrap();
        assert_eq!((rest.len(), &*response.error, response.text(Metadata::STATUS)), (0, "", Some("200")));
        let cookie = |entry: &&Metadata| entry.header_name() == Some("Set-Cookie");
        let cookies: Vec<_> = response.metadata.iter().filter(cookie).map(|entry| &*entry.value).collect();
        assert_eq!(cookies, [b"a=1", b"b=2"]);
    }

    #[tokio::test]
    async fn every_prefix_of_a_head_is_an_error() {
        let bytes = request().encode();
        for end in 0..bytes.len() {
            assert!(matches!(read(&bytes[..end]).await, Err(HeadError::Io(_))), "{end}");
        }
    }

    #[tokio::test]
    async fn nonsense_is_named() {
        let with = |at: usize, with: &[u8]| {
            let mut bytes = request().encode();
            bytes[at..at + with.len()].copy_from_slice(with);
            bytes
        };
        let mut crowd = request();
        crowd.metadata = vec![Metadata::header("a", b""); METADATA_MAX];
        assert!(read(&crowd.encode()).await.is_ok());

        for (bytes, expect) in [
            (with(0, b"GET /"), "the stream does not begin with a known signature"),
            (with(6, b"02"), "version [48, 50] of data streams is not known"),
            (with(8, &64_u32.to_le_bytes()), "the message is larger than 131072 bytes, or has too many parts"),
            (with(12, &u32::MAX.to_le_bytes()), "the message is larger than 131072 bytes, or has too many parts"),
        ] {
            assert_eq!(read(&bytes).await.unwrap_err().to_string(), expect);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = ConnectRequest::decode(bytes.clone());
            let _ = ConnectResponse::decode(bytes);
        }

        #[test]
        fn a_damaged_message_is_read_without_a_panic(at in 8_usize..200, byte in any::<u8>()) {
            let mut bytes = request().encode();
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            // At any place in memory.
            if let Ok(read) = ConnectRequest::decode(Bytes::from(bytes).slice(8..)) {
                prop_assert_eq!(ConnectRequest::decode(read.encode().split_off(8)).unwrap(), read);
            }
        }
    }
}
