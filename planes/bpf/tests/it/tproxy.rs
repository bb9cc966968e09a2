use std::net::SocketAddr;
use std::path::Path;

use bartizan_names::Protocol;
use bartizan_plane_bpf::{AnyIp, Tproxy, Workers};

use crate::lab::{ask, dial, in_namespace, listening, prefixes, run, transparent_workers};

const REFUSED: &str = "ConnectionRefused";

#[test]
fn every_port_by_a_rule_of_the_packet_filter() {
    in_namespace(|_| {
        let pools = prefixes(&["10.77.0.0/16", "127.77.0.0/16", "2001:db8:77::/48"]);
        let any_ip = AnyIp::add(&pools).unwrap();
        let servers = transparent_workers();
        let workers = Workers { tcp: &servers.tcp, udp: &servers.udp };
        let data = Path::new("/nowhere/bartizan");
        // Of a process that crashed.
        let _ = Tproxy::attach(data, &pools, workers).unwrap();
        let tproxy = Tproxy::attach(data, &pools, workers).unwrap();
        for number in 0_u16..50 {
            let port = number * 1_311 + 1;
            for host in ["10.77.3.4", "127.77.200.1", "2001:db8:77::9"] {
                let to = SocketAddr::new(host.parse().unwrap(), port);
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    assert_eq!(ask(protocol, to), format!("worker {to}"), "{protocol}");
                }
            }
        }
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(listening(protocol).len(), 4, "two of each family, and no others");
        }
        // What is not of the prefixes is left alone.
        assert_eq!(dial("tcp 127.0.0.1:4711"), REFUSED);
        tproxy.detach().unwrap();
        assert_eq!(dial("tcp 10.77.3.4:4711"), REFUSED, "after");
        assert_eq!(run("nft", "list ruleset"), "", "left behind");
        any_ip.remove().unwrap();
    });
}
