//! Datagrams by the batch: many for one system call (`recvmmsg`, `sendmmsg`).
//!
//! A socket bound to "any address" answers from the address that it was asked at, not from the one that routing would
//! choose (`IP_PKTINFO`, `IPV6_PKTINFO`): clients drop answers from elsewhere.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// Datagrams in a batch: a larger one did not pay when it was measured, since the kernel does the same work for each.
pub const BATCH: usize = 32;

/// Memory that one core fetches at a time.
const CACHE_LINE: usize = 64;

/// Room for the address of either family: what `sockaddr_in6` needs is more than `sockaddr_in` does.
const ADDRESS_BYTES: usize = mem::size_of::<libc::sockaddr_in6>();

/// Room for one control message with the address that a datagram was sent to: a header, and 12 bytes or 20.
const CONTROL_BYTES: usize = 40;

/// Where a control message's level, type and data lie behind its length (64-bit Linux).
const CONTROL_LEVEL_AT: usize = 8;
const CONTROL_TYPE_AT: usize = 12;
const CONTROL_DATA_AT: usize = 16;

/// Who sent a datagram, and the address that it was sent to if the socket tells.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Peer {
    control: [u8; CONTROL_BYTES],
    address: [u8; ADDRESS_BYTES],
    address_len: u32,
    control_len: usize,
}

impl Peer {
    const NOBODY: Peer =
        Peer { control: [0; CONTROL_BYTES], address: [0; ADDRESS_BYTES], address_len: 0, control_len: 0 };
}

/// Memory for a batch, each datagram in a slot of its own.
struct Slots {
    bytes: Box<[u8]>,
    size: usize,
    /// From one slot to the next: an odd number of cache lines, so that slots do not compete for the same few sets
    /// of the cache.
    stride: usize,
}

impl Slots {
    fn new(size: usize) -> Slots {
        let stride = (size.div_ceil(CACHE_LINE) | 1) * CACHE_LINE;
        debug_assert!(stride >= size && (stride / CACHE_LINE) % 2 == 1, "a slot holds a datagram, on odd lines");
        Slots { bytes: vec![0; stride * BATCH].into(), size, stride }
    }

    fn get(&self, slot: usize) -> &[u8] {
        &self.bytes[slot * self.stride..][..self.size]
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let size = self.size;
        self.bytes.chunks_exact_mut(self.stride).map(move |slot| &mut slot[..size])
    }
}

/// Datagrams that arrived with one system call.
pub struct Inbox {
    slots: Slots,
    lens: [usize; BATCH],
    peers: [Peer; BATCH],
    count: usize,
}

impl Inbox {
    /// For datagrams from `socket` of at most `size` bytes; what is longer is cut. Makes the socket tell at which
    /// address it was asked, if it has several.
    pub fn new(socket: &UdpSocket, size: usize) -> io::Result<Inbox> {
        match socket.local_addr()?.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => switch_on(socket, libc::IPPROTO_IP, libc::IP_PKTINFO)?,
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => switch_on(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?,
            _ => {}
        }
        Ok(Inbox { slots: Slots::new(size), lens: [0; BATCH], peers: [Peer::NOBODY; BATCH], count: 0 })
    }

    /// Waits for a datagram, or for the socket's read time-out, and takes what else is there by then. Gives how many
    /// there are: zero after a time-out. What was in the inbox before is gone.
    ///
    /// Hot: once a batch. No allocation.
    pub fn receive(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        self.count = 0;
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        let mut headers = [EMPTY_HEADER; BATCH];
        for (((slot, peer), vector), header) in
            self.slots.iter_mut().zip(&mut self.peers).zip(&mut vectors).zip(&mut headers)
        {
            *vector = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
            header.msg_hdr.msg_name = peer.address.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = ADDRESS_BYTES as u32;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = peer.control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES;
        }
        // SAFETY: each of the BATCH headers points to one vector, one address and one control buffer with their true
        // lengths; all of them live until the call has returned, and nothing else refers to them meanwhile.
        #[allow(unsafe_code)]
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE,
                ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        };
        debug_assert!(received <= BATCH, "the kernel fills the headers that it was given");
        for ((header, peer), len) in headers[..received].iter().zip(&mut self.peers).zip(&mut self.lens) {
            *len = (header.msg_len as usize).min(self.slots.size);
            peer.address_len = header.msg_hdr.msg_namelen;
            peer.control_len = header.msg_hdr.msg_controllen;
            forget_interface(&mut peer.control[..peer.control_len.min(CONTROL_BYTES)]);
        }
        self.count = received;
        Ok(received)
    }

    /// The datagrams of the last call.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count).map(|slot| &self.slots.get(slot)[..self.lens[slot]])
    }

    /// One datagram of the last call; empty if there were not so many.
    pub fn datagram(&self, slot: usize) -> &[u8] {
        if slot < self.count { &self.slots.get(slot)[..self.lens[slot]] } else { &[] }
    }

    /// Who sent a datagram of the last call.
    pub fn peer(&self, slot: usize) -> Option<SocketAddr> {
        let peer = self.peers[..self.count].get(slot)?;
        read_address(&peer.address)
    }
}

/// Datagrams to be sent with one system call.
pub struct Outbox {
    slots: Slots,
    lens: [usize; BATCH],
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub sent: usize,
    /// Refused by the system: no route, a full queue, a firewall. Datagrams may be lost at any time, so nobody waits.
    pub failed: usize,
}

impl Outbox {
    /// For datagrams of at most `size` bytes.
    pub fn new(size: usize) -> Outbox {
        Outbox { slots: Slots::new(size), lens: [0; BATCH] }
    }

    /// The slots to write to, all [`BATCH`] of them.
    pub fn slots(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.slots.iter_mut()
    }

    /// Says how much of a slot is to be sent; nothing at all if zero, and again after each batch.
    pub fn set_len(&mut self, slot: usize, len: usize) {
        if let Some(place) = self.lens.get_mut(slot) {
            *place = len.min(self.slots.size);
        }
    }

    /// Sends each slot to who sent the datagram in the same slot of `inbox`, from the address it was sent to.
    ///
    /// Hot: once a batch. No allocation.
    pub fn reply(&mut self, socket: &UdpSocket, inbox: &Inbox) -> Sent {
        for len in &mut self.lens[inbox.count..] {
            *len = 0;
        }
        self.transmit(socket, Some(&inbox.peers))
    }

    /// Sends each slot to the address that the socket is connected to.
    pub fn send(&mut self, socket: &UdpSocket) -> Sent {
        self.transmit(socket, None)
    }

    fn transmit(&mut self, socket: &UdpSocket, peers: Option<&[Peer; BATCH]>) -> Sent {
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        let mut headers = [EMPTY_HEADER; BATCH];
        let mut count = 0;
        for (slot, len) in self.lens.iter_mut().enumerate().filter(|(_, len)| **len > 0) {
            let (vector, header) = (&mut vectors[count], &mut headers[count]);
            vector.iov_base = self.slots.get(slot).as_ptr().cast_mut().cast();
            vector.iov_len = mem::take(len);
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            if let Some(peer) = peers.map(|peers| &peers[slot]) {
                header.msg_hdr.msg_name = peer.address.as_ptr().cast_mut().cast();
                header.msg_hdr.msg_namelen = peer.address_len.min(ADDRESS_BYTES as u32);
                header.msg_hdr.msg_control = peer.control.as_ptr().cast_mut().cast();
                header.msg_hdr.msg_controllen = peer.control_len.min(CONTROL_BYTES);
            }
            count += 1;
        }
        debug_assert!(self.lens.iter().all(|len| *len == 0), "what is sent is not sent again");
        send_all(socket, &mut headers[..count])
    }
}

const EMPTY_HEADER: libc::mmsghdr = libc::mmsghdr {
    msg_hdr: libc::msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: ptr::null_mut(),
        msg_iovlen: 0,
        msg_control: ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    },
    msg_len: 0,
};

/// Sends what the headers say. Those that the system refuses are skipped: each call sends one at least or skips one.
///
/// Only for headers whose pointers are null or point to live memory of the length they say.
fn send_all(socket: &UdpSocket, headers: &mut [libc::mmsghdr]) -> Sent {
    let mut result = Sent::default();
    let mut rest = headers;
    while !rest.is_empty() {
        // SAFETY: the only caller fills every header from slices that it borrows until this function has returned;
        // the kernel reads through the pointers, and writes nothing but `msg_len` of the headers themselves.
        #[allow(unsafe_code)]
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
        let done = match usize::try_from(sent) {
            Ok(sent) => {
                result.sent += sent;
                sent
            }
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => 0,
            Err(_) => {
                result.failed += 1;
                1
            }
        };
        rest = &mut rest[done..];
    }
    result
}

fn switch_on(socket: &UdpSocket, level: i32, option: i32) -> io::Result<()> {
    let on: i32 = 1;
    // SAFETY: the value is a live integer, and its length is given as it is.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(&on).cast(), mem::size_of_val(&on) as u32)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a control message that was received one to send with: the address stays, while routing chooses the
/// interface. A link-local address (RFC 4291 §2.5.6) means nothing without its interface and keeps it.
fn forget_interface(control: &mut [u8]) {
    let Some(data) = control.get(CONTROL_DATA_AT..) else { return };
    let field = |at: usize| control[at..].first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    let index = match (field(CONTROL_LEVEL_AT), field(CONTROL_TYPE_AT)) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => CONTROL_DATA_AT,
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if !data.starts_with(&[0xfe, 0x80]) => CONTROL_DATA_AT + 16,
        _ => return,
    };
    if let Some(index) = control.get_mut(index..index + 4) {
        index.fill(0);
    }
}

/// Reads a `sockaddr_in` or `sockaddr_in6`.
fn read_address(bytes: &[u8; ADDRESS_BYTES]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let ip = match family {
        libc::AF_INET => IpAddr::from(*bytes[4..].first_chunk::<4>()?),
        libc::AF_INET6 => IpAddr::from(*bytes[8..].first_chunk::<16>()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Sharing, udp};
    use super::*;

    fn bound(ip: &str) -> UdpSocket {
        let socket = udp(SocketAddr::new(ip.parse().unwrap(), 0), Sharing::Exclusive).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    /// One exchange: `count` datagrams to a server bound to `listen`, by way of `via`; gives all that came back.
    fn echo(listen: &str, via: &str, count: usize) -> Vec<(Vec<u8>, SocketAddr)> {
        let (server, client) = (bound(listen), bound(via));
        let to = SocketAddr::new(via.parse().unwrap(), server.local_addr().unwrap().port());
        let mut inbox = Inbox::new(&server, 100).unwrap();
        let mut outbox = Outbox::new(200);
        for number in 0..count {
            client.send_to(&[number as u8; 5], to).unwrap();
        }
        let mut answered = 0;
        while answered < count {
            let received = inbox.receive(&server).unwrap();
            assert!(received > 0, "{answered} of {count}");
            for slot in 0..received {
                assert_eq!(inbox.peer(slot), Some(client.local_addr().unwrap()));
            }
            for (datagram, slot) in inbox.datagrams().zip(outbox.slots()) {
                slot[..datagram.len()].copy_from_slice(datagram);
            }
            for slot in 0..received {
                outbox.set_len(slot, inbox.datagram(slot).len());
            }
            assert_eq!(outbox.reply(&server, &inbox), Sent { sent: received, failed: 0 });
            answered += received;
        }
        let mut buffer = [0; 100];
        (0..count)
            .map(|_| {
                let (len, from) = client.recv_from(&mut buffer).unwrap();
                assert_eq!(from, to);
                (buffer[..len].to_vec(), from)
            })
            .collect()
    }

    #[test]
    fn datagrams_come_and_go_in_batches() {
        for (listen, via, count) in [
            ("127.0.0.1", "127.0.0.1", 1),
            ("::1", "::1", BATCH),
            ("127.0.0.1", "127.0.0.1", BATCH + 1),
            // Bound to any address: the answer comes from the one that was asked.
            ("0.0.0.0", "127.0.0.2", 3),
            ("::", "::1", 3),
        ] {
            let mut bytes: Vec<u8> = echo(listen, via, count).into_iter().map(|(bytes, _)| bytes[4]).collect();
            bytes.sort_unstable();
            assert_eq!(bytes, (0..count).map(|number| number as u8).collect::<Vec<_>>(), "{listen} {via}");
        }
    }

    #[test]
    fn a_time_out_is_an_empty_batch() {
        let socket = bound("127.0.0.1");
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut inbox = Inbox::new(&socket, 100).unwrap();
        assert_eq!(inbox.receive(&socket).unwrap(), 0);
        assert_eq!((inbox.datagrams().count(), inbox.peer(0), inbox.datagram(0)), (0, None, &[][..]));
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let (server, client) = (bound("127.0.0.1"), bound("127.0.0.1"));
        client.connect(server.local_addr().unwrap()).unwrap();
        let mut outbox = Outbox::new(200);
        outbox.slots().for_each(|slot| slot.fill(7));
        outbox.set_len(3, 150);
        outbox.set_len(BATCH, 1); // no such slot
        assert_eq!(outbox.send(&client), Sent { sent: 1, failed: 0 });
        assert_eq!(outbox.send(&client), Sent::default());
        let mut inbox = Inbox::new(&server, 100).unwrap();
        assert_eq!(inbox.receive(&server).unwrap(), 1);
        assert_eq!(inbox.datagram(0), [7; 100]);
    }

    #[test]
    fn a_refused_datagram_is_counted() {
        let client = bound("127.0.0.1");
        let nobody = bound("127.0.0.1").local_addr().unwrap();
        client.connect(nobody).unwrap();
        let mut outbox = Outbox::new(10);
        // The first is refused by the other side; that is reported for the second.
        let mut total = Sent::default();
        for _ in 0..2 {
            outbox.set_len(0, 1);
            let sent = outbox.send(&client);
            total = Sent { sent: total.sent + sent.sent, failed: total.failed + sent.failed };
        }
        assert_eq!(total, Sent { sent: 1, failed: 1 });
    }
}
