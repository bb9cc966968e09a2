//! A network namespace for each test, and servers in it that say who they are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{io, ptr, thread};

use bartizan_names::{Prefix, Protocol};
use bartizan_net::{prepare_any_port, receive_any_port, tcp_transparent, udp_between, udp_transparent};
use bartizan_plane_bpf::{AttachError, Claim, Setup, Steering, Workers};

/// Nothing here takes long; beyond this it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A namespace, as a test sees it.
pub(crate) struct Lab {
    pub(crate) bpffs: PathBuf,
}

/// Runs a test on a thread of its own with a new network namespace, in which only loopback is up, and a new BPF file
/// system. The kernel takes both away with the last thread and process in them, whatever happens.
pub(crate) fn in_namespace(test: impl FnOnce(&Lab) + Send) {
    let folder = tempfile::tempdir().unwrap();
    let bpffs = folder.path().to_owned();
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(&bpffs).unwrap_or_else(|error| {
                panic!("this test must run as root, in namespaces and with a BPF file system of its own: {error}")
            });
            test(&Lab { bpffs });
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn enter(bpffs: &Path) -> io::Result<()> {
    // SAFETY: takes flags only, and changes this thread alone.
    #[allow(unsafe_code)]
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) })?;
    mount(Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE)?;
    mount(bpffs, Some("bpf"), 0)?;
    ip("link set lo up");
    Ok(())
}

fn mount(at: &Path, kind: Option<&str>, flags: libc::c_ulong) -> io::Result<()> {
    let text = |text: &str| std::ffi::CString::new(text).unwrap();
    let (source, at, kind) = (text("none"), text(at.to_str().unwrap()), kind.map(text));
    let kind = kind.as_ref().map_or(ptr::null(), |kind| kind.as_ptr());
    // SAFETY: all texts end with a zero and outlive the call; these file systems take no data.
    #[allow(unsafe_code)]
    checked(unsafe { libc::mount(source.as_ptr(), at.as_ptr(), kind, flags, ptr::null()) })
}

pub(crate) fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `ip …` in this thread's namespace; gives what it prints.
pub(crate) fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

/// Sockets that listen, a line each: `ss -ltn` or `ss -lun`.
pub(crate) fn listening(protocol: Protocol) -> Vec<String> {
    let listed = run("ss", &format!("-Hln{}", &protocol.to_string()[..1]));
    listed.lines().map(str::to_owned).collect()
}

pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}: install iproute2"));
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Lab {
    pub(crate) fn pin(&self) -> PathBuf {
        self.bpffs.join("bartizan-test")
    }

    pub(crate) fn attach(
        &self,
        workers: &Servers,
        pools: &[Prefix],
        skip: &[SocketAddr],
        claims: &[Claim],
    ) -> Result<Steering, AttachError> {
        let workers = Workers { tcp: &workers.tcp, udp: &workers.udp };
        Steering::attach(&Setup { pin: &self.pin(), workers, pools, skip }, claims)
    }
}

/// Sockets whose threads answer everybody with `NAME DIALLED`. The threads live as long as the test program.
#[derive(Default)]
pub(crate) struct Servers {
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) udp: Vec<UdpSocket>,
}

impl Servers {
    pub(crate) fn tcp(self, name: &'static str, address: &str) -> Servers {
        self.with_tcp(name, TcpListener::bind(address).unwrap())
    }

    fn with_tcp(mut self, name: &'static str, listener: TcpListener) -> Servers {
        answer_tcp(name, listener.try_clone().unwrap());
        self.tcp.push(listener);
        self
    }

    pub(crate) fn udp(self, name: &'static str, address: &str) -> Servers {
        self.with_udp(name, UdpSocket::bind(address).unwrap())
    }

    fn with_udp(mut self, name: &'static str, socket: UdpSocket) -> Servers {
        prepare_any_port(&socket).unwrap();
        socket.set_nonblocking(false).unwrap();
        answer_udp(name, socket.try_clone().unwrap());
        self.udp.push(socket);
        self
    }

    /// Where they really are.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let tcp = self.tcp.iter().map(|socket| socket.local_addr().unwrap());
        tcp.chain(self.udp.iter().map(|socket| socket.local_addr().unwrap())).collect()
    }
}

/// One socket of each protocol and family, on loopback.
pub(crate) fn workers() -> Servers {
    Servers::default()
        .tcp("worker", "127.0.0.1:0")
        .tcp("worker", "[::1]:0")
        .udp("worker", "127.0.0.1:0")
        .udp("worker", "[::1]:0")
}

/// Two transparent sockets of each protocol and family, which share an address.
pub(crate) fn transparent_workers() -> Servers {
    let mut servers = Servers::default();
    for loopback in ["127.0.0.1:0", "[::1]:0"] {
        let at = loopback.parse().unwrap();
        servers = tcp_transparent(at, 2).unwrap().into_iter().fold(servers, |all, one| all.with_tcp("worker", one));
        servers = udp_transparent(at, 2).unwrap().into_iter().fold(servers, |all, one| all.with_udp("worker", one));
    }
    servers
}

pub(crate) fn answer_tcp(name: &'static str, listener: TcpListener) {
    thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let dialled = client.local_addr().unwrap();
            // Who hangs up early has what was wanted.
            let _ = client.write_all(format!("{name} {dialled}").as_bytes());
        }
    });
}

fn answer_udp(name: &'static str, socket: UdpSocket) {
    thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok(Some(datagram)) = receive_any_port(&socket, &mut buffer) {
            let answer = format!("{name} {}", datagram.dialled);
            // A service of this machine is where it was dialled, and needs no other socket.
            if socket.local_addr().unwrap() == datagram.dialled {
                socket.send_to(answer.as_bytes(), datagram.client).unwrap();
            } else {
                udp_between(datagram.dialled, datagram.client).unwrap().send(answer.as_bytes()).unwrap();
            }
        }
    });
}

/// Who answers there, and which address it was dialled at; or the error's kind.
pub(crate) fn ask(protocol: Protocol, to: SocketAddr) -> String {
    let asked = match protocol {
        Protocol::Tcp => ask_tcp(to),
        Protocol::Udp => ask_udp(to),
    };
    asked.unwrap_or_else(|error| format!("{:?}", error.kind()))
}

fn ask_tcp(to: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Connected, so that an answer from another address is not heard, and a refusal is.
fn ask_udp(to: SocketAddr) -> io::Result<String> {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"?")?;
    let mut buffer = [0; 100];
    let len = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
}

/// `192.0.2.1/32 tcp 80-443`
pub(crate) fn claim(text: &str) -> Claim {
    let [addresses, protocol, ports] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    Claim {
        addresses: addresses.parse().unwrap(),
        protocol: protocol.parse().unwrap(),
        ports: first.parse().unwrap()..=last.parse().unwrap(),
    }
}

pub(crate) fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// `tcp 192.0.2.1:80`
pub(crate) fn dial(text: &str) -> String {
    let (protocol, to) = text.split_once(' ').unwrap();
    ask(protocol.parse().unwrap(), to.parse().unwrap())
}
