//! The DNS plane alone, with a zone of names and nothing around it.

use std::error::Error;
use std::net::SocketAddr;

use bartizan_bench::{Flags, ZONE, sign_zone, zone_of_names};
use bartizan_live::Live;
use bartizan_names::{Name, ZoneName};
use bartizan_net::{Sharing, tcp, udp};
use bartizan_plane_dns::{Config, Counters, Identity, Limits, Sockets, start_with};
use bartizan_signer::{Algorithm, Budget};

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&["listen", "names", "zone", "sign"])?;
    let address = flags.need::<SocketAddr>("listen")?;
    let zone = flags.get::<String>("zone")?.unwrap_or_else(|| ZONE.to_owned());
    let zone = ZoneName::new(Name::parse(&zone)?).ok_or("the root is no zone")?;
    let mut zones = zone_of_names(&zone, flags.need("names")?)?;
    if let Some(number) = flags.get("sign")? {
        zones = sign_zone(&zones, &zone, Algorithm::of_number(number).ok_or("no such algorithm")?)?;
    }
    let live = Live::new(Config {
        zones,
        identity: Identity { id_server: "bench".to_owned(), version: "bench".to_owned() },
        ..Config::default()
    });
    let sockets = Sockets {
        udp: vec![udp(address, Sharing::Exclusive)?],
        tcp: vec![tcp(address, Sharing::Exclusive)?],
        tls: Vec::new(),
    };
    // One client asks for everything, as fast as it can.
    let signatures = Limits { budget: Budget::UNLIMITED, ..Limits::default() };
    let _plane = start_with(sockets, &live, &Counters::default(), signatures)?;
    eprintln!("answering on {address}");
    loop {
        std::thread::park();
    }
}
