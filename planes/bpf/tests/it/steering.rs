use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bartizan_names::Protocol;
use bartizan_plane_bpf::{AnyIp, AnyIpError, Counts, Detached, Pinning, WORKERS_MAX, support};

use crate::lab::{Lab, Servers, ask, claim, dial, in_namespace, ip, listening, prefixes, workers};

const REFUSED: &str = "ConnectionRefused";

/// Numbers that look like chance, the same each time (xorshift, Marsaglia 2003).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn every_port_of_every_address_on_one_socket() {
    in_namespace(|lab| {
        assert_eq!(support().to_string(), "all ports of all prefixes on one listening socket a protocol (sk_lookup)");
        let pools = prefixes(&["10.77.0.0/16", "127.77.0.0/16", "2001:db8:77::/48"]);
        let any_ip = AnyIp::add(&pools).unwrap();
        // Again, as after a crash.
        AnyIp::add(&pools).unwrap();
        let workers = workers();
        for refused in
            ["tcp 10.77.1.1:4711", "udp 10.77.1.1:4711", "tcp [2001:db8:77::1]:22", "udp [2001:db8:77::1]:22"]
        {
            assert_eq!(dial(refused), REFUSED, "{refused} before");
        }
        let claims: Vec<_> = pools
            .iter()
            .flat_map(|pool| ["tcp", "udp"].map(|protocol| claim(&format!("{pool} {protocol} 1-65535"))))
            .collect();
        let steering = lab.attach(&workers, &pools, &[], &claims).unwrap();
        let mut draws = Draws(0x5eed);
        for number in 0..200 {
            for pool in &pools {
                let to = SocketAddr::new(pool.nth(draws.next().into_host(pool.is_ipv4())).unwrap(), draws.port());
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    assert_eq!(ask(protocol, to), format!("worker {to}"), "{number}: {protocol}");
                }
            }
        }
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let listening = listening(protocol);
            assert_eq!(listening.len(), 2, "one of each family, and no others: {listening:#?}");
        }
        let expect = Counts { steered_tcp: 600, steered_udp: 600, ..Counts::default() };
        assert_eq!(steering.counts().unwrap(), expect);
        assert_eq!(steering.detach().unwrap(), Detached::Gone);
        assert_eq!(dial("tcp 10.77.1.1:4711"), REFUSED, "after");
        let left: Vec<_> = std::fs::read_dir(&lab.bpffs).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("bartizan")), "left behind: {left:?}");
        // Routes of others stay.
        ip("route add local 10.78.0.0/16 dev lo");
        AnyIp::add(&prefixes(&["10.78.0.0/16"])).unwrap().remove().unwrap();
        any_ip.remove().unwrap();
        let routes = ip("route show table local") + &ip("-6 route show table local");
        assert!(routes.contains("10.78.0.0/16") && !routes.contains(".77.0") && !routes.contains(":77::"), "{routes}");
    });
}

trait IntoHost {
    fn into_host(self, is_ipv4: bool) -> u128;
}

impl IntoHost for u64 {
    /// One of the addresses of a pool of this test.
    fn into_host(self, is_ipv4: bool) -> u128 {
        if is_ipv4 { u128::from(self % (1 << 16)) } else { u128::from(self) << 16 | 1 }
    }
}

impl Draws {
    /// 1 to 65,535.
    fn port(&mut self) -> u16 {
        (self.next() % 65_535) as u16 + 1
    }
}

/// The services of this machine itself, and applications around them.
#[test]
fn services_of_this_machine_keep_their_ports() {
    in_namespace(|lab| {
        ip("address add 192.0.2.1/32 dev lo");
        ip("address add 2001:db8::1/128 dev lo nodad");
        let services = Servers::default()
            .tcp("ssh", "0.0.0.0:22")
            .tcp("api", "192.0.2.1:8787")
            .tcp("api", "[2001:db8::1]:8787")
            .udp("dns", "192.0.2.1:53")
            .udp("dns", "[2001:db8::1]:53");
        let claims = [
            "192.0.2.1/32 tcp 1-65535",
            "192.0.2.1/32 udp 1-65535",
            "2001:db8::1/128 tcp 1-65535",
            "2001:db8::1/128 udp 1-65535",
            "127.77.0.0/16 tcp 1-1024",
        ]
        .map(claim);
        let workers = workers();
        let steering = lab.attach(&workers, &prefixes(&["127.77.0.0/16"]), &services.addresses(), &claims).unwrap();
        for (who, to) in [
            ("ssh", "tcp 192.0.2.1:22"),
            ("api", "tcp 192.0.2.1:8787"),
            ("worker", "tcp 192.0.2.1:8788"),
            ("worker", "tcp 192.0.2.1:23"),
            ("dns", "udp 192.0.2.1:53"),
            ("worker", "udp 192.0.2.1:54"),
            ("api", "tcp [2001:db8::1]:8787"),
            ("worker", "tcp [2001:db8::1]:8788"),
            ("dns", "udp [2001:db8::1]:53"),
            ("worker", "udp [2001:db8::1]:54"),
            // A pool's addresses are ours alone, whatever listens on all addresses.
            ("worker", "tcp 127.77.0.1:22"),
            // Addresses that nobody speaks of.
            ("ssh", "tcp 127.0.0.1:22"),
        ] {
            let (_, address) = to.split_once(' ').unwrap();
            assert_eq!(dial(to), format!("{who} {address}"), "{to}");
        }
        drop(steering);
    });
}

#[test]
fn claims_come_and_go_without_a_trace_on_others() {
    in_namespace(|lab| {
        let pools = prefixes(&["127.77.0.0/16"]);
        let everywhere = Servers::default().tcp("everywhere", "0.0.0.0:2000");
        let standing = claim("127.77.0.1/32 tcp 1000-2000");
        let workers = workers();
        let mut steering =
            lab.attach(&workers, &pools, &everywhere.addresses(), std::slice::from_ref(&standing)).unwrap();
        let refused_before = steering.counts().unwrap().refused;
        for (claims, answered, refused) in [
            (&["127.77.0.2/32 tcp 2000"][..], &["tcp 127.77.0.2:2000"][..], &["tcp 127.77.0.3:2000"][..]),
            (&["127.77.0.2/32 udp 2000"], &["udp 127.77.0.2:2000"], &["tcp 127.77.0.2:2000", "udp 127.77.0.2:2001"]),
            (&["127.77.0.0/24 tcp 1-65535"], &["tcp 127.77.0.2:2000", "tcp 127.77.0.1:9"], &["udp 127.77.0.2:2000"]),
            (&["127.77.0.1/32 tcp 1500-3000"], &["tcp 127.77.0.1:3000"], &["tcp 127.77.0.1:3001", "tcp 127.77.0.1:9"]),
            (&[], &[], &["tcp 127.77.0.1:2001", "tcp 127.77.0.1:999"]),
        ] {
            let now: Vec<_> = claims.iter().map(|text| claim(text)).chain([standing.clone()]).collect();
            steering.update(&now).unwrap();
            let always = ["tcp 127.77.0.1:1000", "tcp 127.77.0.1:2000"];
            for to in answered.iter().chain(&always) {
                assert_eq!(dial(to), format!("worker {}", &to[4..]), "{to} with {claims:?}");
            }
            for to in refused {
                assert_eq!(dial(to), REFUSED, "{to} with {claims:?}");
            }
        }
        assert!(steering.counts().unwrap().refused >= refused_before + 8);
        steering.detach().unwrap();
        assert_eq!(dial("tcp 127.77.0.3:2000"), "everywhere 127.77.0.3:2000");
    });
}

#[test]
fn workers_share_and_stand_in_for_each_other() {
    in_namespace(|lab| {
        let names = ["0", "1", "2", "3"];
        let workers = || names.iter().fold(Servers::default(), |servers, name| servers.tcp(name, "127.0.0.1:0"));
        let sockets = workers();
        let pools = prefixes(&["127.77.0.0/16"]);
        let steering = lab.attach(&sockets, &pools, &[], &[claim("127.77.0.0/16 tcp 1-65535")]).unwrap();
        let mut shares: BTreeMap<String, u32> = BTreeMap::new();
        for port in 1..=400 {
            let answer = ask(Protocol::Tcp, SocketAddr::new(IpAddr::from([127, 77, 0, 1]), port));
            *shares.entry(answer[..1].to_owned()).or_default() += 1;
        }
        // A hundred each; less than forty happens to nobody in the life of this test.
        assert!(names.iter().all(|name| shares.get(*name).is_some_and(|share| *share > 40)), "{shares:?}");
        drop(steering);
        // Sockets that are gone are as if they had never been.
        let (mut some, others) = (workers(), Servers::default().tcp("last", "127.0.0.1:0"));
        some.tcp.truncate(0);
        some.tcp.extend((0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()));
        some.tcp.extend(others.tcp);
        let steering = lab.attach(&some, &pools, &[], &[claim("127.77.0.0/16 tcp 1-65535")]).unwrap();
        some.tcp.drain(..3).for_each(drop);
        for port in 1..=50 {
            let to = SocketAddr::new(IpAddr::from([127, 77, 0, 1]), port);
            assert_eq!(ask(Protocol::Tcp, to), format!("last {to}"));
        }
        assert_eq!(steering.counts().unwrap(), Counts { steered_tcp: 50, ..Counts::default() });
        // No socket of this family or protocol at all: refused, and counted.
        let steering = lab.attach(&some, &pools, &[], &[claim("127.77.0.0/16 udp 1-65535")]).unwrap();
        assert_eq!(dial("udp 127.77.0.1:53"), REFUSED);
        assert_eq!(steering.counts().unwrap(), Counts { no_worker: 1, ..Counts::default() });
    });
}

#[test]
fn what_cannot_be_is_said() {
    in_namespace(|lab| {
        let many = (0..=WORKERS_MAX).fold(Servers::default(), |servers, _| servers.tcp("one", "127.0.0.1:0"));
        let error = lab.attach(&many, &[], &[], &[]).err().unwrap();
        assert_eq!(error.to_string(), "65 sockets of one protocol and family, of at most 64");
        for prefix in ["0.0.0.0/0", "::/0"] {
            let error = AnyIp::add(&prefixes(&[prefix])).unwrap_err();
            assert!(matches!(error, AnyIpError::TooLarge { .. }), "{error}");
        }
        let nowhere = Lab { bpffs: "/nowhere".into() };
        let steering = nowhere.attach(&workers(), &[], &[], &[]).unwrap();
        let Pinning::Not(why) = steering.pinning() else { panic!("pinned at /nowhere") };
        assert_eq!(why.to_string(), "cannot pin at /nowhere/bartizan-test: no BPF file system is mounted there");
        assert_eq!(steering.detach().unwrap(), Detached::Gone);
    });
}
