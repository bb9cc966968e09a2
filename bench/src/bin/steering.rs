//! What it costs to choose a server, without sockets: ns a decision, by how a pool and a server are chosen, with `--pools` pools
//! (100) of `--nodes` nodes (20), all up, and with every second node down.

use std::error::Error;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use bartizan_bench::{Draw, Flags, median};
use bartizan_names::{CountryCode, LoadBalancerId, Name, OriginHost, PoolId, Region, ZoneName};
use bartizan_steering::{Asked, Balancer, Lists, Node, NodeChoice, NodeTarget, Pool, PoolSlot, Steering};

/// Decisions in one measurement.
const DECISIONS: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&["pools", "nodes"])?;
    let (pools, nodes) = (flags.get("pools")?.unwrap_or(100), flags.get("nodes")?.unwrap_or(20));
    println!("pool          server             all up ns  half down ns");
    let steerings = [("off", Steering::Failover), ("geo", Steering::Geo), ("random", Steering::Random)];
    let steerings = steerings.into_iter().chain([
        ("least", Steering::LeastOutstanding),
        ("latency", Steering::Latency),
        ("near", Steering::Proximity),
    ]);
    for (name, steering) in steerings {
        for (server, choice) in
            [("random", NodeChoice::Random), ("hash", NodeChoice::Hash), ("least", NodeChoice::LeastOutstanding)]
        {
            let balancer = balancer(pools, nodes, steering, choice)?;
            let up = measure(&balancer);
            for slot in balancer.pools() {
                let pool = slot.pool();
                (0..nodes).step_by(2).for_each(|node| pool.marks.mark(node, true));
            }
            println!("{name:<13} {server:<18} {up:<10.1} {:.1}", measure(&balancer));
        }
    }
    Ok(())
}

fn balancer(pools: usize, nodes: usize, steering: Steering, choice: NodeChoice) -> Result<Balancer, Box<dyn Error>> {
    let pool = |number: usize| {
        let node = |at: usize| Node {
            name: format!("{number}.{at}").into(),
            target: NodeTarget::Host(
                [OriginHost::Address(IpAddr::V4(Ipv4Addr::from_bits((number << 8 | at) as u32)))].into(),
            ),
            port: None,
            enabled: true,
            disabled_at: None,
            weight: 10_000,
            tag: (number << 32 | at) as u64,
        };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let mut pool = Pool::new(PoolId::from_bytes(id), (0..nodes).map(node).collect(), None);
        pool.choice = choice;
        Arc::new(PoolSlot::new(number as u32, pool))
    };
    let pools: Vec<Arc<PoolSlot>> = (0..pools).map(pool).collect();
    let fallback = pools.first().ok_or("a pool at least")?;
    let lists = Lists {
        fallback: Arc::clone(fallback),
        default: pools.clone().into(),
        here: None,
        by_country: Vec::new(),
        by_region: vec![(Region::Weu, pools.clone().into())],
        weights: Vec::new(),
    };
    let (id, name) = (LoadBalancerId::from_bytes([1; 16]), Name::parse("www.example.com")?);
    let mut balancer = Balancer::new(id, ZoneName::new(Name::parse("example.com")?).ok_or("an apex")?, name, lists);
    balancer.steering = steering;
    Ok(balancer)
}

fn measure(balancer: &Balancer) -> f64 {
    let country: Option<CountryCode> = "DE".parse().ok();
    let mut draw = Draw::new(7);
    let asked: Vec<Asked> = (0..DECISIONS)
        .map(|_| Asked::by(IpAddr::V4(Ipv4Addr::from_bits(draw.below(1 << 32) as u32)), country, draw.below(u64::MAX)))
        .collect();
    median(|| {
        let start = Instant::now();
        for asked in &asked {
            black_box(balancer.choose(black_box(asked)));
        }
        start.elapsed().as_nanos() as f64 / DECISIONS as f64
    })
}
