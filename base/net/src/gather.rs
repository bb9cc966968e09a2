//! One datagram from two places in memory, so that a header in front costs no copy of what it stands in front of.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use socket2::SockRef;

/// Sends a header and a payload as one datagram to the address that the socket is connected to.
// Hot: once a datagram. No allocation.
pub fn send_behind(socket: &impl AsFd, header: &[u8], payload: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send_vectored(&[IoSlice::new(header), IoSlice::new(payload)])
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn two_pieces_are_one_datagram() {
        let [sender, receiver] = [1, 2].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        for (header, payload) in [("head", "payload"), ("head", ""), ("", "payload"), ("", "")] {
            let whole = format!("{header}{payload}");
            assert_eq!(send_behind(&sender, header.as_bytes(), payload.as_bytes()).unwrap(), whole.len());
            let mut bytes = [0; 100];
            let len = receiver.recv(&mut bytes).unwrap();
            assert_eq!(bytes[..len], *whole.as_bytes());
        }
    }
}
