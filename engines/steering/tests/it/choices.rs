use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{LoadBalancerId, Name, OriginHost, PoolId, Region, ZoneName};
use bartizan_steering::{
    Affinity, Asked, Balancer, Balancers, Cookie, Lists, Node, NodeChoice, NodeTarget, Place, Pool, PoolSlot, SameSite,
    Steering, ToldTo,
};

/// A pool `number` of nodes with these shares.
fn pool(number: u8, weights: &[u16]) -> Pool {
    let node = |(at, weight): (usize, &u16)| Node {
        name: format!("{number}.{at}").into(),
        target: NodeTarget::Host([OriginHost::Address([192, 0, number, at as u8].into())].into()),
        port: None,
        enabled: true,
        disabled_at: None,
        weight: *weight,
        tag: u64::from(number) << 8 | at as u64,
    };
    Pool::new(PoolId::from_bytes([number; 16]), weights.iter().enumerate().map(node).collect(), None)
}

/// The place of a pool, which is seen to be as `pool` is.
fn slot(pool: &Arc<Pool>) -> Arc<PoolSlot> {
    let tag = pool.nodes().first().map_or(0, |node| (node.tag >> 32) as u32);
    Arc::new(PoolSlot::new(tag, (**pool).clone()))
}

fn balancer(default: Vec<Arc<Pool>>, fallback: Arc<Pool>, change: impl FnOnce(&mut Lists)) -> Balancer {
    let mut lists = Lists {
        fallback: slot(&fallback),
        default: default.iter().map(slot).collect(),
        here: None,
        by_country: Vec::new(),
        by_region: Vec::new(),
        weights: Vec::new(),
    };
    change(&mut lists);
    let (id, name) = (LoadBalancerId::from_bytes([1; 16]), |text| Name::parse(text).unwrap());
    Balancer::new(id, ZoneName::new(name("example.com")).unwrap(), name("www.example.com"), lists)
}

/// A generator of its own, so that each run is the same.
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 0x5eed_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    })
}

fn asked(draw: u64) -> Asked {
    Asked::by([198, 51, 100, 7].into(), None, draw)
}

fn counts(balancer: &Balancer, count: usize) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for draw in numbers().take(count) {
        let chosen = balancer.choose(&asked(draw)).unwrap();
        *counts.entry(chosen.node().name.to_string()).or_default() += 1;
    }
    counts
}

/// Two nodes with equal shares: below 6.63 with one degree of freedom is p > 0.01.
#[test]
fn equal_nodes_are_chosen_evenly() {
    let one = Arc::new(pool(1, &[10_000, 10_000]));
    let counts = counts(&balancer(vec![Arc::clone(&one)], one, |_| {}), 10_000);
    let chi: f64 = counts.values().map(|count| (f64::from(*count) - 5_000.0).powi(2) / 5_000.0).sum();
    assert!(chi < 6.63, "{chi} {counts:?}");
}

/// Also where nodes of the other kind stand between them: below 9.21 with two degrees of freedom is p > 0.01.
#[test]
fn each_address_is_told_first_as_often_as_the_others() {
    let mut nodes = pool(1, &[1, 1, 1, 1]).nodes().to_vec();
    nodes[1].target = NodeTarget::Host([OriginHost::Address("2001:db8::1".parse().unwrap())].into());
    let one = Arc::new(Pool::new(PoolId::from_bytes([1; 16]), nodes, None));
    let balancer = balancer(vec![Arc::clone(&one)], one, |_| {});
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for draw in numbers().take(9_000) {
        let told: Vec<_> = balancer.addresses(&asked(draw), |told, _| told.collect());
        assert!(told.len() == 4 && told[3].is_ipv6(), "{told:?}");
        *counts.entry(told[0].to_string()).or_default() += 1;
    }
    let chi: f64 = counts.values().map(|count| (f64::from(*count) - 3_000.0).powi(2) / 3_000.0).sum();
    assert!(counts.len() == 3 && chi < 9.21, "{chi} {counts:?}");
}

#[test]
fn shares_are_kept() {
    let one = Arc::new(pool(1, &[9_000, 1_000, 0]));
    let balancer = balancer(vec![Arc::clone(&one)], one, |_| {});
    let canary = counts(&balancer, 10_000)["1.1"];
    assert!((910..=1_090).contains(&canary), "{canary}");
    assert!(!counts(&balancer, 1_000).contains_key("1.2"));
}

#[test]
fn the_first_pool_that_is_up_and_a_fallback() {
    let pools: Vec<Arc<Pool>> = (1..=3).map(|number| Arc::new(pool(number, &[1, 1]))).collect();
    let fallback = Arc::new(pool(9, &[1]));
    let balancer = balancer(pools.clone(), Arc::clone(&fallback), |_| {});
    let first = || balancer.choose(&asked(0)).unwrap().node().name.to_string();
    // Marks (pool.node), and who is asked next.
    let steps: [(&[(usize, usize)], &str); 4] =
        [(&[], "1.0"), (&[(0, 0)], "1.1"), (&[(0, 1)], "2.0"), (&[(1, 0), (1, 1), (2, 0), (2, 1)], "9.0")];
    for (down, expect) in steps {
        for (pool, node) in down {
            pools[*pool].marks.mark(*node, true);
        }
        assert_eq!(first(), expect, "{down:?}");
    }
    // Nobody is well: the fallback is asked all the same.
    fallback.marks.mark(0, true);
    assert_eq!(first(), "9.0");
    pools[0].marks.mark(1, false);
    assert_eq!(first(), "1.1");
}

#[test]
fn too_few_nodes_are_no_pool() {
    let mut first = pool(1, &[1, 1, 1]);
    first.minimum = 2;
    let (first, second) = (Arc::new(first), Arc::new(pool(2, &[1])));
    let balancer = balancer(vec![Arc::clone(&first), Arc::clone(&second)], second, |_| {});
    let pool = || balancer.choose(&asked(0)).unwrap().pool.id.as_bytes()[0];
    first.marks.mark(0, true);
    assert_eq!(pool(), 1);
    first.marks.mark(1, true);
    assert_eq!(pool(), 2);
}

#[test]
fn places_have_their_pools() {
    let pools: Vec<Arc<Pool>> = (0..=4).map(|number| Arc::new(pool(number, &[1]))).collect();
    let only = |number: usize| -> Arc<[Arc<PoolSlot>]> { [slot(&pools[number])].into() };
    let mut balancer = balancer(vec![Arc::clone(&pools[0])], Arc::clone(&pools[4]), |lists| {
        lists.by_region = vec![(Region::Weu, only(1)), (Region::Enam, only(2))];
        lists.by_country = vec![("FR".parse().unwrap(), only(3))];
    });
    balancer.steering = Steering::Geo;
    let from = |country: &str| {
        let asked = Asked::by([198, 51, 100, 7].into(), Some(country.parse().unwrap()), 0);
        balancer.choose(&asked).unwrap().pool.id.as_bytes()[0]
    };
    for (country, expect) in [("DE", 1), ("FR", 3), ("US", 2), ("JP", 0), ("XX", 0)] {
        assert_eq!(from(country), expect, "{country}");
    }
    // Who has pools of their own goes to no others but the fallback.
    pools[1].marks.mark(0, true);
    assert_eq!((from("DE"), from("JP")), (4, 0));
}

#[test]
fn a_visitor_stays_with_a_node_that_is_up() {
    let one = Arc::new(pool(1, &[1, 1]));
    let mut balancer = balancer(vec![Arc::clone(&one)], Arc::clone(&one), |_| {});
    let with = |tag| Asked { stays_with: Some(tag), ..asked(0) };
    assert_eq!(&*balancer.choose(&with(1 << 8 | 1)).unwrap().node().name, "1.0", "nobody has said that they stay");
    let cookie = Cookie {
        max_age: Duration::from_secs(60),
        same_site: SameSite::Lax,
        secure: None,
        fails_over: false,
        drain: Duration::ZERO,
    };
    balancer.affinity = Affinity::Cookie { cookie, by_address: false };
    let chosen = balancer.choose(&with(1 << 8 | 1)).unwrap();
    assert_eq!((&*chosen.node().name, chosen.stayed), ("1.1", true));
    // A tag that nobody has.
    assert!(!balancer.choose(&with(7)).unwrap().stayed);
    one.marks.mark(1, true);
    let chosen = balancer.choose(&with(1 << 8 | 1)).unwrap();
    assert_eq!((&*chosen.node().name, chosen.stayed), ("1.0", false));
}

#[test]
fn whoever_has_the_same_address_has_the_same_node() {
    let mut first = pool(1, &[1, 1, 1, 1, 1]);
    first.choice = NodeChoice::Hash;
    let one = Arc::new(first);
    let balancer = balancer(vec![Arc::clone(&one)], Arc::clone(&one), |_| {});
    let node = |last: u8, draw| balancer.choose(&Asked::by([198, 51, 100, last].into(), None, draw)).unwrap().index;
    let before: Vec<usize> = (0..=255).map(|last| node(last, 0)).collect();
    assert!((0..=255).all(|last| node(last, u64::MAX) == before[usize::from(last)]));
    assert!((0..5).all(|at| before.iter().filter(|node| **node == at).count() > 25), "{before:?}");
    one.marks.mark(2, true);
    for last in 0..=255 {
        let before = before[usize::from(last)];
        // Nobody moves but those of the node that is down.
        assert!(if before == 2 { node(last, 0) != 2 } else { node(last, 0) == before }, "{last}");
    }
}

#[test]
fn the_least_busy_node_and_another_one() {
    let mut first = pool(1, &[10_000, 10_000, 10_000]);
    first.choice = NodeChoice::LeastOutstanding;
    let one = Arc::new(first);
    let balancer = balancer(vec![Arc::clone(&one)], Arc::clone(&one), |_| {});
    let open = [0, 0, 2].map(|node| one.marks.begin(node));
    let chosen = balancer.choose(&asked(0)).unwrap();
    assert_eq!(chosen.index, 1);
    assert_eq!(balancer.choose_other(&asked(0), &chosen).unwrap().index, 2);
    drop(open);
    assert_eq!((one.marks.open(0), one.marks.open(2)), (0, 0));
}

#[test]
fn another_node_is_of_another_pool_where_there_is_no_other() {
    let (first, second) = (Arc::new(pool(1, &[1])), Arc::new(pool(2, &[1])));
    let balancer = balancer(vec![Arc::clone(&first), Arc::clone(&second)], Arc::clone(&first), |_| {});
    let chosen = balancer.choose(&asked(0)).unwrap();
    assert_eq!(&*balancer.choose_other(&asked(0), &chosen).unwrap().node().name, "2.0");
    second.marks.mark(0, true);
    assert!(balancer.choose_other(&asked(0), &chosen).is_none());
}

#[test]
fn pools_by_their_shares() {
    let pools: Vec<Arc<Pool>> = (1..=3).map(|number| Arc::new(pool(number, &[1]))).collect();
    let mut balancer =
        balancer(pools.clone(), Arc::clone(&pools[0]), |lists| lists.weights = vec![5_000, 2_500, 2_500]);
    balancer.steering = Steering::Random;
    let share = |balancer: &Balancer, node: &str| counts(balancer, 10_000).get(node).copied().unwrap_or_default();
    assert!((4_800..5_200).contains(&share(&balancer, "1.0")));
    // The shares of the others stay to each other as they were.
    pools[0].marks.mark(0, true);
    assert!((4_800..5_200).contains(&share(&balancer, "2.0")));
    assert_eq!(share(&balancer, "1.0"), 0);
}

/// What a pool was seen to be like goes on with its nodes, whatever becomes of the others.
#[test]
fn marks_stay_with_their_nodes() {
    let before = pool(1, &[1, 1, 1]);
    before.marks.mark(1, true);
    let nodes = |ids: &[usize]| ids.iter().map(|at| before.nodes()[*at].clone()).collect();
    let same = Pool::new(before.id, nodes(&[0, 1, 2]), Some(&before));
    assert!(Arc::ptr_eq(&same.marks, &before.marks));
    let fewer = Pool::new(before.id, nodes(&[1, 2]), Some(&before));
    assert_eq!(fewer.marks.down(), 0b01);
}

/// Whatever servers are chosen by within a pool.
#[test]
fn the_least_busy_pool() {
    let pools: Vec<Arc<Pool>> = (1..=3).map(|number| Arc::new(pool(number, &[1, 1]))).collect();
    let mut balancer = balancer(pools.clone(), Arc::clone(&pools[0]), |lists| lists.weights = vec![5_000, 10_000, 0]);
    balancer.steering = Steering::LeastOutstanding;
    assert!(balancer.counts_requests(&pools[0]));
    let mut open = Vec::new();
    for draw in numbers().take(300) {
        let chosen = balancer.choose(&asked(draw)).unwrap();
        open.push(chosen.pool.marks.begin(chosen.index));
    }
    // None ends: each has as many as its share says, and who has none gets none.
    let under_way = |pool: usize| (0..2).map(|node| pools[pool].marks.open(node)).sum::<u32>();
    assert!((99..=100).contains(&under_way(0)) && under_way(2) == 0, "{} {}", under_way(0), under_way(2));
    pools[1].marks.mark(0, true);
    drop(open);
    let first = numbers().take(10).map(|draw| balancer.choose(&asked(draw)).unwrap().pool.id.as_bytes()[0]);
    assert!(first.collect::<Vec<_>>().contains(&2), "half of its nodes are as much as the share of the other");
}

#[test]
fn a_pool_that_is_off_gets_nobody() {
    let mut off = pool(1, &[1, 1]);
    off.enabled = false;
    let (off, spare) = (Arc::new(off), Arc::new(pool(2, &[1])));
    let alone = balancer(vec![Arc::clone(&off)], Arc::clone(&off), |_| {});
    assert!(alone.choose(&asked(0)).is_none());
    assert_eq!(alone.addresses(&asked(0), |told, _| told.count()), 0);
    let balancer = balancer(vec![Arc::clone(&off), Arc::clone(&spare)], off, |_| {});
    assert_eq!(&*balancer.choose(&asked(0)).unwrap().node().name, "2.0");
    spare.marks.mark(0, true);
    assert!(balancer.choose(&asked(0)).is_none());
}

/// Nobody is said to be well, perhaps for the monitor's sake: who could not be reached is not the only one that is tried.
#[test]
fn the_last_resort_is_tried_twice_too() {
    let one = Arc::new(pool(1, &[1, 1]));
    (0..2).for_each(|node| one.marks.mark(node, true));
    let balancer = balancer(vec![Arc::clone(&one)], Arc::clone(&one), |_| {});
    let chosen = balancer.choose(&asked(0)).unwrap();
    assert_eq!(balancer.choose_other(&asked(0), &chosen).unwrap().index, 1 - chosen.index);
}

/// A cookie leads to a node of any of the pools, and to none of others.
#[test]
fn cookies_of_many_pools() {
    let tag = |number: u64, at: u64| number << 32 | at;
    let pools: Vec<Arc<Pool>> = (0..=100)
        .map(|number: u8| {
            let mut nodes = pool(number, &[1, 1, 1]).nodes().to_vec();
            nodes.iter_mut().zip(0..).for_each(|(node, at)| node.tag = tag(number.into(), 7 - at));
            Arc::new(Pool::new(PoolId::from_bytes([number; 16]), nodes, None))
        })
        .collect();
    let mut balancer = balancer(pools[..100].to_vec(), Arc::clone(&pools[0]), |_| {});
    let cookie = Cookie {
        max_age: Duration::from_secs(60),
        same_site: SameSite::Lax,
        secure: None,
        fails_over: false,
        drain: Duration::ZERO,
    };
    balancer.affinity = Affinity::Cookie { cookie, by_address: false };
    for number in 0..=100 {
        for at in 0..4 {
            let chosen = balancer.choose(&Asked { stays_with: Some(tag(number, 7 - at)), ..asked(0) }).unwrap();
            let expect =
                if number < 100 && at < 3 { (format!("{number}.{at}"), true) } else { ("0.0".to_owned(), false) };
            assert_eq!((chosen.node().name.to_string(), chosen.stayed), expect, "{number} {at}");
        }
    }
}

/// A cookie that somebody else was given leads nobody past the pools of their place, nor to the fallback while these are up.
#[test]
fn a_cookie_leads_to_no_other_place() {
    let node = |number: u8| {
        let mut nodes = pool(number, &[1]).nodes().to_vec();
        nodes[0].tag = u64::from(number) << 32;
        Arc::new(Pool::new(PoolId::from_bytes([number; 16]), nodes, None))
    };
    let (europe, other, fallback) = (node(1), node(2), node(3));
    let mut balancer = balancer(vec![Arc::clone(&other)], Arc::clone(&fallback), |lists| {
        lists.by_country = vec![("DE".parse().unwrap(), [slot(&europe)].into())];
    });
    balancer.steering = Steering::Geo;
    let cookie = Cookie {
        max_age: Duration::from_secs(60),
        same_site: SameSite::Lax,
        secure: None,
        fails_over: false,
        drain: Duration::ZERO,
    };
    balancer.affinity = Affinity::Cookie { cookie, by_address: false };
    let from = |country: &str, tag: u64| {
        let asked = Asked { country: country.parse().ok(), stays_with: Some(tag << 32), ..asked(0) };
        let chosen = balancer.choose(&asked).unwrap();
        (chosen.node().name.to_string(), chosen.stayed)
    };
    assert_eq!(from("DE", 1), ("1.0".to_owned(), true));
    assert_eq!(from("DE", 2), ("1.0".to_owned(), false));
    assert_eq!(from("DE", 3), ("1.0".to_owned(), false));
    assert_eq!(from("JP", 1), ("2.0".to_owned(), false));
    europe.marks.mark(0, true);
    assert_eq!(from("DE", 3), ("3.0".to_owned(), true));
    assert_eq!(from("DE", 2), ("3.0".to_owned(), false));
}

/// Each zone answers by its own load balancer, though the one above has one with the same name.
#[test]
fn one_name_in_two_zones() {
    let name = |text: &str| Name::parse(text).unwrap();
    let make = |number: u8, apex: &str| {
        let only = Arc::new(pool(number, &[1]));
        let lists = Lists {
            fallback: slot(&only),
            default: [slot(&only)].into(),
            here: None,
            by_country: Vec::new(),
            by_region: Vec::new(),
            weights: Vec::new(),
        };
        let apex = ZoneName::new(name(apex)).unwrap();
        Balancer::new(LoadBalancerId::from_bytes([number; 16]), apex, name("a.b.example"), lists)
    };
    let of = |balancers: &Balancers, apex: &str| {
        let found = balancers.named(name(apex).as_wire(), name("a.b.example").as_wire())?;
        Some(found.id.as_bytes()[0])
    };
    let mut edit = Balancers::default().edit();
    edit.put(make(1, "b.example"));
    edit.put(make(2, "example"));
    let both = edit.finish();
    assert_eq!((of(&both, "b.example"), of(&both, "example"), of(&both, "other")), (Some(1), Some(2), None));
    let mut edit = both.edit();
    edit.remove(LoadBalancerId::from_bytes([2; 16]));
    let one = edit.finish();
    assert_eq!((of(&one, "b.example"), of(&one, "example")), (Some(1), None));
}

/// Who leads to a pool need not be made anew when it changes.
#[test]
fn a_pool_changes_in_its_place() {
    let before = Arc::new(pool(1, &[1, 1]));
    let place = slot(&before);
    let mut balancer = balancer(Vec::new(), Arc::clone(&before), |lists| {
        lists.fallback = Arc::clone(&place);
        lists.default = [Arc::clone(&place)].into();
    });
    let cookie = Cookie {
        max_age: Duration::from_secs(60),
        same_site: SameSite::Lax,
        secure: None,
        fails_over: true,
        drain: Duration::from_secs(60),
    };
    let first = balancer.choose(&asked(0)).unwrap();
    assert_eq!(&*first.node().name, "1.0");
    // The first one goes away while somebody is on the way to it.
    let mut nodes = before.nodes()[1..].to_vec();
    place.put(Arc::new(Pool::new(before.id, nodes.clone(), Some(&before))));
    assert_eq!(&*balancer.choose(&asked(0)).unwrap().node().name, "1.1");
    assert_eq!(&*balancer.choose_other(&asked(0), &first).unwrap().node().name, "1.1");
    // Who was with one that is switched off stays for a while, and nobody else goes there.
    balancer.affinity = Affinity::Cookie { cookie, by_address: false };
    nodes.push(before.nodes()[0].clone());
    (nodes[0].enabled, nodes[0].disabled_at) = (false, Some(1_000));
    place.put(Arc::new(Pool::new(before.id, nodes, Some(&before))));
    let with = |now| Asked { stays_with: Some(1 << 8 | 1), now, ..asked(0) };
    for (now, expect) in [(1_000, ("1.1", true)), (1_059, ("1.1", true)), (1_060, ("1.0", false))] {
        let chosen = balancer.choose(&with(now)).unwrap();
        assert_eq!((&*chosen.node().name, chosen.stayed), expect, "{now}");
    }
    let draining = balancer.choose(&with(1_000)).unwrap();
    assert_eq!(&*balancer.choose_other(&with(1_000), &draining).unwrap().node().name, "1.0");
    place.pool().marks.mark(0, true);
    assert!(!balancer.choose(&with(1_000)).unwrap().stayed, "it is down too");
}

#[test]
fn the_quickest_pool() {
    let pools: Vec<Arc<Pool>> = (1..=3).map(|number| Arc::new(pool(number, &[1, 1]))).collect();
    let mut balancer = balancer(pools.clone(), Arc::clone(&pools[0]), |_| {});
    balancer.steering = Steering::Latency;
    let chosen = || balancer.choose(&asked(0)).unwrap().pool.id.as_bytes()[0];
    assert_eq!(chosen(), 1, "nobody has looked yet");
    let took = |pool: usize, node: usize, milliseconds: u64| {
        pools[pool].marks.note_took(node, Duration::from_millis(milliseconds));
    };
    took(2, 0, 20);
    assert_eq!(chosen(), 3);
    took(1, 0, 10);
    took(1, 1, 20);
    assert_eq!(chosen(), 2);
    // Once is no reason to go elsewhere.
    took(1, 0, 20);
    assert_eq!(chosen(), 2);
    (0..10).for_each(|_| took(1, 0, 90));
    assert_eq!(chosen(), 3);
    pools[2].marks.mark(0, true);
    assert_eq!(chosen(), 2, "the node that is left has not been looked at");
}

/// The same values, the same node, in whatever pool that is.
#[test]
fn whoever_has_the_same_key_has_the_same_node() {
    let pools: Vec<Arc<Pool>> = (1..=2).map(|number| Arc::new(pool(number, &[1, 1, 1]))).collect();
    let mut balancer = balancer(pools.clone(), Arc::clone(&pools[0]), |lists| lists.weights = vec![1, 1]);
    balancer.steering = Steering::Random;
    balancer.affinity = Affinity::Header { names: ["x-user".into()].into(), all: false };
    let node = |key: u64, draw| balancer.choose(&asked(draw).keyed(key)).unwrap().node().name.to_string();
    let before: Vec<String> = (0..300).map(|key| node(key, 0)).collect();
    assert!((0..300).all(|key| node(key, u64::MAX - key) == before[key as usize]));
    let has = |name: &str| before.iter().filter(|one| *one == name).count();
    assert!(["1.0", "1.1", "1.2", "2.0", "2.1", "2.2"].iter().all(|name| (20..=80).contains(&has(name))), "{before:?}");
    pools[0].marks.mark(1, true);
    for key in 0..300 {
        let before = &before[key as usize];
        assert_eq!(&node(key, 0) == before, before != "1.1", "nobody moves but those of the one that is down");
    }
    // Who has no key goes anywhere.
    let any = |draw| balancer.choose(&asked(draw)).unwrap().node().name.to_string();
    assert!(numbers().take(100).map(any).collect::<std::collections::BTreeSet<_>>().len() == 5);
}

/// The same of the names and ports of a service: who is well and can be told, each first as often as the others.
#[test]
fn servers_of_a_service_are_told_by_name_and_port() {
    let mut one = pool(1, &[5_000, 5_000, 5_000, 0]);
    one.tell_services([Some("a"), Some("b"), None, Some("d")].map(|it| it.map(|it| it.as_bytes().into())).into_iter());
    let one = Arc::new(one);
    let mut balancer = balancer(vec![Arc::clone(&one)], Arc::clone(&one), |_| {});
    let told = |balancer: &Balancer, draw| {
        let text = |(priority, it): (u16, &[u8])| format!("{priority}{}", str::from_utf8(it).unwrap());
        balancer.services(&asked(draw), |told, _| told.map(text).collect::<Vec<_>>())
    };
    assert!(told(&balancer, 0).is_empty(), "it is told by addresses");
    balancer.is_service = true;
    assert_eq!(balancer.addresses(&asked(0), |told, _| told.count()), 0);
    let mut first = [0_i32; 2];
    for draw in numbers().take(2_000) {
        let told = told(&balancer, draw);
        first[usize::from(told[0] == "0b")] += 1;
        assert!(told == ["0a", "0b"] || told == ["0b", "0a"], "{told:?}");
    }
    assert!((first[0] - first[1]).abs() < 200, "{first:?}");
    one.marks.mark(0, true);
    assert_eq!(told(&balancer, 0), ["0b"]);
    one.marks.mark(1, true);
    assert_eq!(told(&balancer, 0).len(), 2, "nobody is well: all are told");
    // Who stays with a server asks the others only where that is not there.
    let mut hashed = (*one).clone();
    hashed.choice = NodeChoice::Hash;
    let hashed = Arc::new(hashed);
    let mut sticky = self::balancer(vec![Arc::clone(&hashed)], Arc::clone(&hashed), |_| {});
    sticky.is_service = true;
    let all: Vec<_> = numbers().take(20).map(|draw| told(&sticky, draw)).collect();
    assert!(
        all.iter().all(|one| *one == all[0]) && all[0][0].starts_with('0') && all[0][1].starts_with('1'),
        "{all:?}"
    );
    assert_eq!(sticky.services(&asked(0), |_, told_to| told_to), ToldTo::Client);
}

/// Whether a resolver may give an answer to others.
#[test]
fn for_whom_an_answer_is() {
    let one = Arc::new(pool(1, &[1, 1]));
    let mut balancer = balancer(vec![Arc::clone(&one)], Arc::clone(&one), |_| {});
    let told_to = |balancer: &Balancer| balancer.addresses(&asked(0), |_, told_to| told_to);
    assert_eq!(told_to(&balancer), ToldTo::Everybody);
    balancer.steering = Steering::Geo;
    assert_eq!(told_to(&balancer), ToldTo::Client);
}

#[test]
fn the_nearest_pool() {
    let places = [Some((50.1, 8.7)), Some((40.7, -74.0)), None, Some((1.3, 103.8))];
    let pools: Vec<Arc<Pool>> = (1..)
        .zip(places)
        .map(|(number, place)| {
            let mut pool = pool(number, &[1]);
            pool.place = place.map(|(latitude, longitude)| Place::at(latitude, longitude));
            Arc::new(pool)
        })
        .collect();
    let mut balancer = balancer(pools.clone(), Arc::clone(&pools[0]), |_| {});
    balancer.steering = Steering::Proximity;
    let from = |country: &str| {
        let asked = Asked::by([198, 51, 100, 7].into(), Some(country.parse().unwrap()), 0);
        balancer.choose(&asked).unwrap().pool.id.as_bytes()[0]
    };
    for (country, expect) in [("PL", 1), ("MX", 2), ("AU", 4), ("XX", 1)] {
        assert_eq!(from(country), expect, "{country}");
    }
    pools[3].marks.mark(0, true);
    assert_eq!(from("MY"), 1);
    (0..2).for_each(|pool: usize| pools[pool].marks.mark(0, true));
    assert_eq!(from("MY"), 3, "nobody knows where it is");
}

/// Of a family whose servers are all down all are told, as of a pool of which all are: who has no other family is not sent away.
#[test]
fn a_family_that_is_down_is_told() {
    let node = |(tag, address): (u64, &str)| Node {
        name: tag.to_string().into(),
        target: NodeTarget::Host([OriginHost::Address(address.parse().unwrap())].into()),
        port: None,
        enabled: tag != 4,
        disabled_at: None,
        weight: 1,
        tag,
    };
    let addresses = ["192.0.2.1", "2001:db8::1", "2001:db8::2", "192.0.2.2"];
    let one = Arc::new(Pool::new(PoolId::from_bytes([1; 16]), (1..).zip(addresses).map(node).collect(), None));
    let balancer = balancer(vec![Arc::clone(&one)], Arc::clone(&one), |_| {});
    let told = || {
        let mut told =
            balancer.addresses(&asked(0), |told, _| told.map(|address| address.to_string()).collect::<Vec<_>>());
        told.sort_unstable();
        told.join(" ")
    };
    one.marks.mark(1, true);
    assert_eq!(told(), "192.0.2.1 2001:db8::2");
    one.marks.mark(0, true);
    assert_eq!(told(), "192.0.2.1 2001:db8::2");
    one.marks.mark(2, true);
    assert_eq!(told(), "192.0.2.1 2001:db8::1 2001:db8::2");
}
