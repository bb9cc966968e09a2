//! Who holds a port: from the kernel's socket tables to a process name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The transport of a taken port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

/// The state column of a listening TCP socket, and of an unconnected UDP one, in `/proc/net`.
const LISTENING: [(&str, Transport); 2] = [("0A", Transport::Tcp), ("07", Transport::Udp)];

/// The process that holds `address`, as "nginx (pid 812)"; none if it cannot be seen from here.
pub fn of(address: SocketAddr, transport: Transport) -> Option<String> {
    let inode = tables(transport).iter().find_map(|table| {
        let text = std::fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| inode_of(line, address, transport))
    })?;
    process_with(&inode)
}

/// Every socket of this machine that listens, or receives from anybody.
pub fn listening(transport: Transport) -> Vec<SocketAddr> {
    let texts = tables(transport).into_iter().filter_map(|table| std::fs::read_to_string(table).ok());
    texts
        .flat_map(|text| text.lines().skip(1).filter_map(|line| listener(line, transport)).collect::<Vec<_>>())
        .collect()
}

fn listener(line: &str, transport: Transport) -> Option<SocketAddr> {
    let mut fields = line.split_whitespace();
    let local = parse_address(fields.nth(1)?)?;
    LISTENING.contains(&(fields.nth(1)?, transport)).then_some(local)
}

const fn tables(transport: Transport) -> [&'static str; 2] {
    match transport {
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    }
}

/// The inode of a table's line, if the line is a socket that keeps others from `address`.
fn inode_of(line: &str, address: SocketAddr, transport: Transport) -> Option<String> {
    let mut fields = line.split_whitespace();
    let local = parse_address(fields.nth(1)?)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let same_port = local.port() == address.port();
    let same_address = local.ip() == address.ip() || local.ip().is_unspecified() || address.ip().is_unspecified();
    (same_port && same_address && LISTENING.contains(&(state, transport))).then(|| inode.to_owned())
}

/// `0100007F:1F90`: the address as little-endian 32-bit words in hexadecimal, the port in order.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for word in 0..address.len() / 8 {
        bytes.extend(u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok()?.to_le_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Looks for the process that has the socket open. Other users' processes are only seen by root.
fn process_with(inode: &str) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = files
            .flatten()
            .any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()));
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_tables() {
        for (text, expect) in [
            ("0100007F:1F90", Some("127.0.0.1:8080")),
            ("00000000000000000000000001000000:0035", Some("[::1]:53")),
            ("0100007F", None),
            ("01:zz", None),
        ] {
            assert_eq!(parse_address(text).map(|address| address.to_string()).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn this_process_is_found_as_the_holder() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert!(listening(Transport::Tcp).contains(&address) && !listening(Transport::Udp).contains(&address));
        let holder = of(address, Transport::Tcp).unwrap();
        assert!(holder.ends_with(&format!("(pid {})", std::process::id())), "{holder}");
    }
}
