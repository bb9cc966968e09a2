//! Which records answer a question: small zones by chance, every question about them, and NSD and Knot as judges.
//!
//! ```text
//! seed ─► zones ─┬─► our DNS plane
//!                ├─► NSD, as files
//!                └─► Knot, as files     each is asked the same; answers are compared as sets
//! ```
//! RFC 1034 §4.3.2 (what is looked for in which order), 4592 (wildcards), 6672 (DNAME), 9460 (SVCB and HTTPS), 2308 (what is not
//! there); all addresses by one question are what the judges say to two. The zones
//! have what these are about close together: wildcards at every depth, names that are there because of one below them,
//! CNAMEs, delegations and DNAMEs above and below each other. The seed is fixed: the same zones each time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bartizan_authority::{NameContent, Proxied, RecordSet, ZoneFacts, Zones};
use bartizan_e2e::{Program, wait};
use bartizan_live::Live;
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_plane_dns::{Config, Counters, Plane, Sockets, start};
use bartizan_wire::dns::{Class, Message, Rcode, Record, write_query};

/// Zones, and questions that are drawn for each: some seconds for all three servers.
const ZONES: usize = 60;
const QUESTIONS: usize = 150;

/// Of these labels names are made, `*` among them.
const LABELS: [&str; 4] = ["a", "b", "c", "*"];
const DEPTH: usize = 3;

const TYPES: [RecordType; 11] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::TXT,
    RecordType::SVCB,
    RecordType::HTTPS,
    RecordType::CNAME,
    RecordType::NS,
    RecordType::DNAME,
    RecordType::DS,
    RecordType::SOA,
    RecordType(65_280),
];

/// All addresses of a name at once, which the judges are asked for by two questions.
const ADDRESSES: RecordType = RecordType(65_535);

/// A generator of numbers (xorshift64*), so that one seed is one history.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }

    fn pick<'t, T: ?Sized>(&mut self, all: &[&'t T]) -> &'t T {
        all[self.roll(all.len())]
    }

    /// A name of at most so many labels below the apex.
    fn below(&mut self, apex: &str, depth: usize) -> String {
        (0..self.roll(depth + 1)).fold(apex.to_owned(), |name, _| format!("{}.{name}", self.pick(&LABELS)))
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// What stands at the names of a zone: types with their data as text.
type Contents = BTreeMap<String, Vec<(RecordType, String)>>;

fn contents(dice: &mut Dice, apex: &str) -> Contents {
    let mut contents = Contents::new();
    for _ in 0..3 + dice.roll(9) {
        let owner = dice.below(apex, DEPTH);
        let is_wildcard = owner.starts_with('*');
        let target = if dice.roll(6) == 0 { "elsewhere.example".to_owned() } else { dice.below(apex, DEPTH) };
        let records = match dice.roll(12) {
            0..3 => vec![(RecordType::A, format!("192.0.2.{}", 1 + dice.roll(250)))],
            3 => vec![(RecordType::AAAA, format!("2001:db8::{}", 1 + dice.roll(9)))],
            4 => vec![(RecordType::TXT, "text".to_owned()), (RecordType::A, "192.0.2.9".to_owned())],
            9 => vec![(RecordType::A, "192.0.2.10".to_owned()), (RecordType::AAAA, "2001:db8::10".to_owned())],
            // A service here, and one that another name stands for (RFC 9460 §2.4).
            10 => vec![(RecordType::HTTPS, "1 .".to_owned()), (RecordType::A, "192.0.2.11".to_owned())],
            11 => vec![(RecordType::SVCB, format!("0 {target}."))],
            5 | 6 if owner != apex && target != owner => vec![(RecordType::CNAME, target)],
            // What a wildcard delegates or redirects is undefined (RFC 4592 §4.2, RFC 6672 §3.3).
            7 if owner != apex && !is_wildcard => vec![(RecordType::NS, format!("ns.{owner}"))],
            8 if !is_wildcard && !name(&target).is_at_or_below(&name(&owner)) => vec![(RecordType::DNAME, target)],
            _ => vec![(RecordType::TXT, "else".to_owned())],
        };
        contents.entry(owner).or_insert(records);
    }
    // Nothing is below a DNAME (RFC 6672 §2.4); what is there all the same is an error of whoever made the zone.
    let dnames: Vec<String> = contents
        .iter()
        .filter(|(_, records)| records.iter().any(|(rtype, _)| *rtype == RecordType::DNAME))
        .map(|(owner, _)| owner.clone())
        .collect();
    contents.retain(|owner, _| !dnames.iter().any(|dname| owner != dname && name(owner).is_at_or_below(&name(dname))));
    contents
}

fn rdata(rtype: RecordType, text: &str) -> Vec<u8> {
    match rtype {
        RecordType::A => text.parse::<Ipv4Addr>().unwrap().octets().to_vec(),
        RecordType::AAAA => text.parse::<Ipv6Addr>().unwrap().octets().to_vec(),
        RecordType::SVCB | RecordType::HTTPS => {
            let (priority, target) = text.split_once(' ').unwrap();
            let target = if target == "." { Name::root() } else { name(target.trim_end_matches('.')) };
            [&priority.parse::<u16>().unwrap().to_be_bytes()[..], target.as_wire()].concat()
        }
        RecordType::TXT => [&[text.len() as u8], text.as_bytes()].concat(),
        _ => name(text).as_wire().to_vec(),
    }
}

fn file(apex: &str, contents: &Contents) -> String {
    let mut text = format!(
        "{apex}. 86400 IN SOA ns1.other.example. dns.other.example. 7 10000 2400 604800 3600\n\
         {apex}. 86400 IN NS ns1.other.example.\n"
    );
    for (owner, records) in contents {
        for (rtype, data) in records {
            let is_name = matches!(*rtype, RecordType::CNAME | RecordType::NS | RecordType::DNAME);
            let dot = if is_name { "." } else { "" };
            text += &format!("{owner}. 300 IN {rtype} {data}{dot}\n");
        }
    }
    text
}

fn ours(zones: &[(String, Contents)]) -> (Plane, SocketAddr) {
    let mut edit = Zones::empty().edit();
    for (apex, contents) in zones {
        let zone = ZoneName::new(name(apex)).unwrap();
        edit.put_zone(ZoneFacts {
            serial: 7,
            nameservers: vec![name("ns1.other.example")],
            soa_rname: name("dns.other.example"),
            ..ZoneFacts::new(zone.clone())
        });
        for (owner, records) in contents {
            let sets = records.iter().map(|(rtype, text)| RecordSet {
                rtype: *rtype,
                ttl: 300,
                rdata: vec![rdata(*rtype, text)],
            });
            edit.put_name(&zone, &name(owner), NameContent { sets: sets.collect(), proxied: Proxied::Never });
        }
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let config = Config { zones: edit.finish(), ..Config::default() };
    let sockets = Sockets { udp: vec![socket], ..Sockets::default() };
    (start(sockets, &Live::new(config), &Counters::default()).unwrap(), address)
}

/// A port that is free for UDP and for TCP.
fn free() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

/// NSD with these zones, each in a file of its name, of which it gives transfers.
pub(crate) fn nsd<'a>(folder: &Path, zones: impl IntoIterator<Item = &'a String>) -> (Program, SocketAddr) {
    nsd_of(folder, zones.into_iter().map(|apex| (apex.as_str(), apex.clone())))
}

/// NSD with these zones, each with its file.
pub(crate) fn nsd_of<'a>(folder: &Path, zones: impl IntoIterator<Item = (&'a str, String)>) -> (Program, SocketAddr) {
    let (address, here) = (free(), folder.display());
    let mut text = format!(
        "server:\n  ip-address: {}@{}\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{here}\"\n  \
         database: \"\"\n  pidfile: \"{here}/nsd.pid\"\n  zonelistfile: \"{here}/nsd.zones\"\n  \
         xfrdfile: \"{here}/nsd.xfrd\"\n  xfrdir: \"{here}\"\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n",
        address.ip(),
        address.port()
    );
    for (apex, file) in zones {
        text += &format!("zone:\n  name: {apex}\n  zonefile: {file}\n  provide-xfr: 127.0.0.1 NOKEY\n");
    }
    let path = folder.join("nsd.conf");
    fs::write(&path, text).unwrap();
    (Program::start("nsd", Command::new("nsd").args(["-d", "-c"]).arg(&path)), address)
}

fn knot(folder: &Path, zones: &[(String, Contents)]) -> (Program, SocketAddr) {
    let (address, here) = (free(), folder.display());
    let mut text = format!(
        "server:\n  rundir: \"{here}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: \"{here}/knot\"\ntemplate:\n  - id: default\n    storage: \"{here}\"\n    \
         journal-content: none\n    zonefile-load: whole\n    semantic-checks: off\nzone:\n",
        address.ip(),
        address.port()
    );
    for (apex, _) in zones {
        text += &format!("  - domain: {apex}\n    file: {apex}\n");
    }
    let path = folder.join("knot.conf");
    fs::write(&path, text).unwrap();
    fs::create_dir_all(folder.join("knot")).unwrap();
    (Program::start("knotd", Command::new("knotd").arg("-c").arg(&path)), address)
}

/// Who is asked, and by which socket.
struct Server {
    who: &'static str,
    socket: UdpSocket,
}

impl Server {
    fn new(who: &'static str, address: SocketAddr) -> Server {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        Server { who, socket }
    }

    fn try_ask(&self, id: u16, owner: &str, rtype: RecordType) -> Option<Message> {
        let mut reply = [0; 4096];
        let question = Some((name(owner), rtype, Class::IN));
        self.socket.send(&write_query(id, &name(owner), rtype, Class::IN, None)).ok()?;
        loop {
            let length = self.socket.recv(&mut reply).ok()?;
            match Message::parse(&reply[..length]) {
                Ok(message) if message.id == id && message.question == question => return Some(message),
                // Of a question before, that was given up.
                _ => {}
            }
        }
    }

    fn ask(&self, id: u16, owner: &str, rtype: RecordType) -> Said {
        let message = (0..5).find_map(|_| self.try_ask(id, owner, rtype));
        Said::of(&message.unwrap_or_else(|| panic!("{} does not answer {owner} {rtype}", self.who)))
    }
}

/// What an answer says, whatever the order of its records.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    rcode: Rcode,
    authoritative: bool,
    answer: BTreeSet<String>,
    authority: BTreeSet<String>,
}

impl Said {
    fn of(message: &Message) -> Said {
        let text = |record: &Record| {
            let Record { owner, rtype, ttl, rdata, .. } = record;
            format!("{owner} {ttl} {rtype} {}", rdata.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        let mut authority: BTreeSet<String> = message.authority.iter().map(text).collect();
        // Name servers of the zone itself beside an answer of it are a courtesy that nobody needs (RFC 1034 §4.3.2 has them
        // nowhere but in a referral), and ours are only told when they are asked for.
        if message.authoritative && !message.answers.is_empty() {
            authority.retain(|record| !record.contains(" NS "));
        }
        Said {
            rcode: message.rcode,
            authoritative: message.authoritative,
            answer: message.answers.iter().map(text).collect(),
            authority,
        }
    }
}

impl Said {
    /// What a question for all addresses is to be answered, by the answers for those of each family.
    fn of_both(v4: Said, v6: Said) -> Said {
        let is_denied = !v4.authority.is_empty() && !v6.authority.is_empty();
        Said {
            answer: v4.answer.union(&v6.answer).cloned().collect(),
            authority: if is_denied { v4.authority } else { BTreeSet::new() },
            ..v6
        }
    }
}

#[test]
fn two_other_servers_say_the_same() {
    let mut dice = Dice(0x5eed_0b5e_55ed);
    let zones: Vec<(String, Contents)> = (0..ZONES)
        .map(|number| {
            let apex = format!("z{number}.test");
            let contents = contents(&mut dice, &apex);
            (apex, contents)
        })
        .collect();
    let folder = tempfile::Builder::new().prefix("bartizan-judges-").tempdir().unwrap();
    for (apex, contents) in &zones {
        fs::write(folder.path().join(apex), file(apex, contents)).unwrap();
    }
    let (_plane, ours) = ours(&zones);
    let (_nsd, nsd) = nsd(folder.path(), zones.iter().map(|(apex, _)| apex));
    let (_knot, knot) = knot(folder.path(), &zones);
    let ours = Server::new("ours", ours);
    let judges = [Server::new("NSD", nsd), Server::new("Knot", knot)];
    for judge in &judges {
        for (apex, _) in &zones {
            wait::until(&format!("{} has {apex}", judge.who), || {
                let said = judge.try_ask(1, apex, RecordType::SOA)?;
                (said.rcode == Rcode::NOERROR && !said.answers.is_empty()).then_some(())
            });
        }
    }
    let (mut wrong, mut asked) = (Vec::new(), 0_usize);
    for (apex, contents) in &zones {
        let mut questions = BTreeSet::new();
        // Each name that is there, and others near it, with each type.
        for owner in contents.keys().chain([apex]) {
            questions.extend(TYPES.iter().map(|rtype| (owner.clone(), *rtype)));
        }
        while questions.len() < QUESTIONS {
            let owner = dice.below(apex, DEPTH + 1);
            questions.insert((owner, TYPES[dice.roll(TYPES.len())]));
        }
        let owners: BTreeSet<String> = questions.iter().map(|(owner, _)| owner.clone()).collect();
        questions.extend(owners.into_iter().map(|owner| (owner, ADDRESSES)));
        for (owner, rtype) in questions {
            asked += 1;
            let id = (asked % 65_536) as u16;
            let said = ours.ask(id, &owner, rtype);
            for judge in &judges {
                let theirs = match rtype {
                    ADDRESSES => {
                        let [v4, v6] = [RecordType::A, RecordType::AAAA].map(|rtype| judge.ask(id, &owner, rtype));
                        Said::of_both(v4, v6)
                    }
                    rtype => judge.ask(id, &owner, rtype),
                };
                if said == theirs {
                    continue;
                }
                wrong.push(format!(
                    "{owner} {rtype}\n  ours {said:?}\n  {} {theirs:?}\n{}",
                    judge.who,
                    file(apex, contents)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
}
