//! Zones whose parent this edge serves too: what it has of them is asked here, if the world knows that zone as ours, or not at all.

use std::sync::Arc;

use bartizan_authority::{NameContent, Proxied, RecordSet, ZoneFacts, Zones};
use bartizan_dial::Destinations;
use bartizan_lab::{Manner, NameServer};
use bartizan_live::Live;
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_plane_dns::{Config, InForce};
use bartizan_registry::{DsSeen, Parents, Serves, Source};

const HERE: Source = Source::Here;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn apex(text: &str) -> ZoneName {
    ZoneName::new(name(text)).unwrap()
}

/// Zones on this edge, each with a zone `child` inside that is here too; it has that one's DS record, by the key tag.
fn edge(zones: &[(&str, u16)]) -> InForce {
    let mut edit = Zones::empty().edit();
    for (zone, key_tag) in zones {
        for each in [(*zone).to_owned(), format!("child.{zone}")] {
            edit.put_zone(ZoneFacts {
                nameservers: vec![name("ns1.edge.test"), name("ns2.edge.test")],
                ..ZoneFacts::new(apex(&each))
            });
        }
        let [high, low] = key_tag.to_be_bytes();
        let set = |rtype, rdata| RecordSet { rtype, ttl: 600, rdata };
        let sets = vec![
            set(RecordType::NS, vec![name("ns1.edge.test").as_wire().to_vec()]),
            set(RecordType::DS, vec![vec![high, low, 13, 2, 0xaa]]),
        ];
        edit.put_name(&apex(zone), &name(&format!("child.{zone}")), NameContent { sets, proxied: Proxied::Never });
    }
    InForce::new(Live::new(Config { zones: edit.finish(), ..Config::default() }))
}

/// What a resolver knows, for which child; which key tags are seen, and who has said so.
type Row<'r> = (&'r str, &'r str, &'r str, &'r [u16], Source);

#[tokio::test]
async fn the_parent_of_a_zone_is_here_if_the_world_says_so_or_nothing() {
    // No server can be reached at these addresses, so that what a resolver says of a zone's DS is believed.
    const ELSEWHERE: &str = "ns.else.test 60 A 127.0.0.255\n";
    let both = Source::Servers { answered: 2, of: 3 };
    let rows: [Row; 7] = [
        ("delegated to us", "p.test 60 NS ns1.edge.test\np.test 60 NS ns2.edge.test", "child.p.test", &[1], HERE),
        (
            "and to another",
            "p.test 60 NS ns1.edge.test\np.test 60 NS ns2.edge.test\np.test 60 NS ns.else.test",
            "child.p.test",
            &[1],
            both,
        ),
        (
            "delegated to others alone, and here because somebody is about to move it",
            "p.test 60 NS ns.else.test\nchild.p.test 60 DS 7 13 2 AA",
            "child.p.test",
            &[7],
            Source::Resolver,
        ),
        ("not known to anybody else", "test 60 NS ns.else.test", "child.p.test", &[1], HERE),
        (
            "not known, and the zone around it has a DS record all the same",
            "test 60 NS ns.else.test\nchild.p.test 60 DS 7 13 2 AA",
            "child.p.test",
            &[7],
            Source::Resolver,
        ),
        ("in no zone at all", "", "child.p.test", &[1], HERE),
        ("of this machine", "", "child.q.localhost", &[2], HERE),
    ];
    let here = Arc::new(edge(&[("p.test", 1), ("q.localhost", 2)]));
    for (what, known, child, expect, source) in rows {
        let resolver = NameServer::start(&format!("{ELSEWHERE}{known}"));
        let parents = Parents::by(&[resolver.address], Destinations::all()).beside(here.clone());
        let DsSeen { any, all, ttl, source: said } = parents.look(&apex(child)).await.unwrap();
        assert_eq!(any, all, "{what}");
        let tags: Vec<u16> = any.iter().map(|ds| ds.key_tag).collect();
        assert_eq!((&tags[..], said), (expect, source), "{what}");
        if said == HERE {
            assert_eq!(ttl, 600, "{what}");
            let ours = [name("ns1.edge.test"), name("ns2.edge.test")];
            let seen = parents.delegation(&apex(child), &ours).await.unwrap();
            assert_eq!((seen.source, seen.agrees), (HERE, true), "{what}");
            let named: Vec<Name> = seen.servers.iter().map(|server| server.name.clone()).collect();
            assert_eq!(named, ours, "{what}");
            assert!(seen.servers.iter().all(|server| server.serves == Serves::NotAsked), "{what}");
        }
    }
    // A zone of ours around which there is none of ours.
    let resolver = NameServer::start(&format!("{ELSEWHERE}test 60 NS ns.else.test\np.test 60 DS 9 13 2 AA"));
    let parents = Parents::by(&[resolver.address], Destinations::all()).beside(here);
    let seen = parents.look(&apex("p.test")).await.unwrap();
    assert_eq!((seen.any[0].key_tag, seen.source), (9, Source::Resolver));
}

/// What this edge has of a zone is seen also where nobody else can be asked; that it has nothing says nothing.
#[tokio::test]
async fn what_is_here_is_seen_without_a_resolver() {
    let resolver = NameServer::start("");
    resolver.becomes(Manner::Fails);
    let here = Arc::new(edge(&[("p.test", 1)]));
    let parents = Parents::by(&[resolver.address], Destinations::all()).beside(here);
    let seen = parents.look(&apex("child.p.test")).await.unwrap();
    let tags: Vec<u16> = seen.any.iter().map(|ds| ds.key_tag).collect();
    assert_eq!((&tags[..], &seen.all[..], seen.source), (&[1][..], &[][..], Source::HereAtLeast));
    assert!(seen.doubt().unwrap().contains("--resolver"));
    let ours = [name("ns1.edge.test"), name("ns2.edge.test")];
    let delegation = parents.delegation(&apex("child.p.test"), &ours).await.unwrap();
    assert_eq!((delegation.servers.len(), delegation.source), (2, Source::HereAtLeast));
    // In a zone of ours that has nothing of it, and in none.
    for zone in ["other.p.test", "p.test"] {
        let unknown = parents.look(&apex(zone)).await.unwrap_err().to_string();
        assert!(unknown.contains("no resolver answers") && unknown.contains("--resolver"), "{unknown}");
        assert!(parents.delegation(&apex(zone), &ours).await.is_err(), "{zone}");
    }
}
