//! The DNS plane alone, with a zone of names and nothing around it.

use std::error::Error;
use std::net::SocketAddr;

use bartizan_authority::Addresses;
use bartizan_bench::{Flags, ZONE, zone_of_names};
use bartizan_live::Live;
use bartizan_names::{Name, ZoneName};
use bartizan_net::{Sharing, tcp, udp};
use bartizan_plane_dns::{Config, Counters, Identity, Sockets, start};

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&["listen", "names", "zone"])?;
    let address = flags.need::<SocketAddr>("listen")?;
    let zone = flags.get::<String>("zone")?.unwrap_or_else(|| ZONE.to_owned());
    let zone = ZoneName::new(Name::parse(&zone)?).ok_or("the root is no zone")?;
    let live = Live::new(Config {
        zones: zone_of_names(&zone, flags.need("names")?)?,
        addresses: Addresses::default(),
        identity: Identity { id_server: "bench".to_owned(), version: "bench".to_owned() },
    });
    let sockets =
        Sockets { udp: vec![udp(address, Sharing::Exclusive)?], tcp: vec![tcp(address, Sharing::Exclusive)?] };
    let _plane = start(sockets, &live, &Counters::default())?;
    eprintln!("answering on {address}");
    loop {
        std::thread::park();
    }
}
