//! The look into the audit: from the entries that an index leads to, those that are wanted and may be seen, within a budget.
//!
//! Where to look is chosen by what is asked and by what the caller may see ([`sources`]), so that a token for one zone reads
//! that zone's entries and not the whole account's. Several places are merged in the order of landing. When the budget is
//! spent the look ends behind a whole revision, and says where to go on.

use std::collections::VecDeque;

use bartizan_names::ZoneId;
use bartizan_store::{AuditAction as Action, AuditEntry, AuditOf, AuditPlace, AuditRange, Direction, Kind, Rev};
use bartizan_v4::StoredUser;
use bartizan_v4::audit_log::{
    AuditAction, AuditActor, AuditExtension, AuditLog, AuditMetadata, AuditOwner, AuditResource,
};

use super::people::People;
use super::sight::Sight;
use super::through::Through;
use super::{Wanted, kinds};
use crate::error::Error;
use crate::reply::Page;
use crate::transaction::View;

/// How much is looked at for one page.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    pub(super) entries: usize,
    /// Of documents that are shown: of one entry with the longest, or a thousand with usual ones.
    pub(super) shown_bytes: usize,
}

pub(super) const BUDGET: Budget = Budget { entries: 20_000, shown_bytes: 4 << 20 };

/// Entries that are read in one go.
const CHUNK: usize = 256;

/// Places that are looked at beside each other.
const SOURCES_MAX: usize = 64;

/// Zones that had one name, and users that had one address, of which the newest are looked for.
const NAMESAKES_MAX: usize = 16;

/// Changes that are made beside each other may land in another order than that of their times, by a few revisions.
const OUT_OF_ORDER_MAX: u64 = 100;

/// A page, and what is not in it.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) entries: Vec<AuditLog>,
    /// How many there are as far as it was looked: one more if there may be others.
    pub(super) total: u64,
    /// Entries whose documents did not fit.
    pub(super) without_document: u64,
    /// All of this revision was looked at, and nothing behind it.
    pub(super) stopped_at: Option<Rev>,
    /// It is empty whatever was changed.
    pub(super) is_blind: bool,
}

pub(super) fn look(
    view: &View,
    sight: &Sight<'_>,
    wanted: &Wanted,
    page: Page,
    mut left: Budget,
) -> Result<Looked, Error> {
    let (first, end) = (page.before(), page.before() + u64::from(page.size));
    let (mut people, mut found) = (People::default(), Looked { is_blind: sight.is_blind(), ..Looked::default() });
    let mut entries = Merged::new(sources(sight, wanted), range(view, wanted)?, wanted.direction);
    let mut last: Option<AuditPlace> = None;
    while let Some(entry) = entries.next(view)? {
        if left.entries == 0
            && let Some(rev) = last.map(AuditPlace::rev).filter(|rev| *rev != entry.place.rev())
        {
            found.stopped_at = Some(rev);
            found.total += 1;
            break;
        }
        left.entries = left.entries.saturating_sub(1);
        // Two places may lead to one entry.
        if last.replace(entry.place) == Some(entry.place) || !wanted.takes(&entry) || !sight.covers(&entry) {
            continue;
        }
        found.total += 1;
        if found.total > end {
            break;
        }
        if found.total > first {
            found.entries.push(told(view, sight, &mut people, entry, &mut left, &mut found.without_document)?);
        }
    }
    Ok(found)
}

/// Entries in `range` until the budget is spent, and what is left of the range: none at its end. `reserve` is what of the
/// budget one entry may show.
pub(super) fn piece(
    view: &View,
    sight: &Sight<'_>,
    wanted: &Wanted,
    mut range: AuditRange,
    mut left: Budget,
    reserve: usize,
) -> Result<(Vec<AuditLog>, Option<AuditRange>), Error> {
    let (mut people, mut told_of, mut without_document) = (People::default(), Vec::new(), 0);
    let mut entries = Merged::new(sources(sight, wanted), range, wanted.direction);
    let mut last: Option<AuditPlace> = None;
    while left.entries > 0 && left.shown_bytes >= reserve {
        let Some(entry) = entries.next(view)? else { return Ok((told_of, None)) };
        left.entries -= 1;
        match wanted.direction {
            Direction::Ascending => range.first = AuditPlace(entry.place.0.saturating_add(1)),
            Direction::Descending => range.end = entry.place,
        }
        // Two places may lead to one entry.
        if last.replace(entry.place) != Some(entry.place) && wanted.takes(&entry) && sight.covers(&entry) {
            told_of.push(told(view, sight, &mut people, entry, &mut left, &mut without_document)?);
        }
    }
    Ok((told_of, Some(range)))
}

/// Where what is wanted is found.
fn sources(sight: &Sight<'_>, wanted: &Wanted) -> Vec<AuditOf> {
    if wanted.place.is_some() {
        return vec![AuditOf::All];
    }
    if let Some(id) = &wanted.object {
        return vec![AuditOf::Object(id.clone())];
    }
    if let Some(name) = &wanted.name {
        let named = Kind::ALL.iter().map(|kind| AuditOf::Named(name.clone(), *kind));
        return named.chain(wanted.namesakes.iter().map(|zone| AuditOf::Object(zone.to_string()))).collect();
    }
    if let Some(zones) = &wanted.zones {
        return zones.iter().copied().map(AuditOf::Zone).collect();
    }
    if let Some(user) = wanted.by {
        return vec![AuditOf::By(user)];
    }
    if let Some(users) = &wanted.users {
        return users.iter().copied().map(AuditOf::By).collect();
    }
    // What is of users is in no account.
    if !wanted.hide_user && sight.has_people() {
        return vec![AuditOf::All];
    }
    let caller = sight.caller();
    let of_user = (!wanted.hide_user).then_some(AuditOf::User(caller.user));
    let of_edge = sight.is_at_the_edge().then_some(AuditOf::Edge);
    let places = match sight.zones() {
        Some(zones) if zones.len() < SOURCES_MAX => {
            let apart = AuditOf::Apart(caller.account);
            zones.into_iter().map(AuditOf::Zone).chain([apart]).collect()
        }
        _ => vec![AuditOf::Account(caller.account)],
    };
    places.into_iter().chain(of_user).chain(of_edge).collect()
}

/// The zones that have a name now, or had it, the newest of them.
pub(super) fn zones_named(view: &View, name: &bartizan_names::ZoneName) -> Result<Vec<ZoneId>, Error> {
    let mut zones: Vec<ZoneId> = view.zone_named(name)?.into_iter().collect();
    let of = AuditOf::Named(name.to_string(), Kind::Zone);
    for entry in view.0.audit(&of, AuditRange::ALL, Direction::Descending, CHUNK)? {
        if let Some(zone) = entry.key.zone_id()
            && !zones.contains(&zone)
            && zones.len() < NAMESAKES_MAX
        {
            zones.push(zone);
        }
    }
    Ok(zones)
}

/// The users who have an address, or had it.
pub(super) fn users_at(view: &View, email: &str) -> Result<Vec<bartizan_names::UserId>, Error> {
    let users = view.all::<StoredUser>(Kind::User)?.into_iter();
    let mut users: Vec<_> =
        users.filter(|user| user.email.eq_ignore_ascii_case(email)).map(|user| user.id).take(NAMESAKES_MAX).collect();
    let of = AuditOf::Named(email.to_owned(), Kind::User);
    for entry in view.0.audit(&of, AuditRange::ALL, Direction::Descending, CHUNK)? {
        if let Some(user) = entry.object.and_then(|id| id.parse().ok())
            && !users.contains(&user)
            && users.len() < NAMESAKES_MAX
        {
            users.push(user);
        }
    }
    Ok(users)
}

/// Between which places what is wanted may be. The times decide in the end.
pub(super) fn range(view: &View, wanted: &Wanted) -> Result<AuditRange, Error> {
    let mut range = AuditRange::ALL;
    if let Some(place) = wanted.place {
        return Ok(AuditRange { first: place, end: AuditPlace(place.0.saturating_add(1)) });
    }
    let further = |place: AuditPlace, by: i64| Rev(place.rev().0.saturating_add_signed(by * OUT_OF_ORDER_MAX as i64));
    if let Some(since) = wanted.since {
        range.first = AuditPlace::first_of(further(view.0.audit_since(since)?, -1));
    }
    if let Some(before) = wanted.before {
        range.end = range.end.min(AuditPlace::first_of(further(view.0.audit_before(before)?, 1)));
    }
    if let Some(before) = wanted.before_revision {
        range.end = range.end.min(AuditPlace::first_of(Rev(before)));
    }
    if let Some(after) = wanted.after_revision {
        range.first = range.first.max(AuditPlace::first_of(Rev(after.saturating_add(1))));
    }
    Ok(range)
}

/// Entries from several places as one list.
struct Merged {
    streams: Vec<Stream>,
    direction: Direction,
}

struct Stream {
    of: AuditOf,
    /// What is left of it.
    range: AuditRange,
    read: VecDeque<AuditEntry>,
    is_over: bool,
}

impl Merged {
    fn new(sources: Vec<AuditOf>, range: AuditRange, direction: Direction) -> Merged {
        let stream = |of| Stream { of, range, read: VecDeque::new(), is_over: false };
        Merged { streams: sources.into_iter().map(stream).collect(), direction }
    }

    fn next(&mut self, view: &View) -> Result<Option<AuditEntry>, Error> {
        for stream in &mut self.streams {
            if stream.read.is_empty() && !stream.is_over {
                stream.fill(view, self.direction)?;
            }
        }
        let heads = self.streams.iter_mut().filter(|stream| !stream.read.is_empty());
        let place = |stream: &&mut Stream| stream.read.front().map(|entry| entry.place);
        let next = match self.direction {
            Direction::Ascending => heads.min_by_key(place),
            Direction::Descending => heads.max_by_key(place),
        };
        Ok(next.and_then(|stream| stream.read.pop_front()))
    }
}

impl Stream {
    fn fill(&mut self, view: &View, direction: Direction) -> Result<(), Error> {
        let entries = view.0.audit(&self.of, self.range, direction, CHUNK)?;
        match (entries.last(), direction) {
            (None, _) => self.is_over = true,
            (Some(last), Direction::Ascending) => self.range.first = AuditPlace(last.place.0 + 1),
            (Some(last), Direction::Descending) => self.range.end = last.place,
        }
        self.read = entries.into();
        Ok(())
    }
}

fn told(
    view: &View,
    sight: &Sight<'_>,
    people: &mut People,
    entry: AuditEntry,
    left: &mut Budget,
    without_document: &mut u64,
) -> Result<AuditLog, Error> {
    let kind = entry.key.kind();
    let (before, after) = view.0.audit_documents(entry.place)?;
    let length = |value: &Option<bartizan_store::Value>| value.as_ref().map_or(0, |value| value.json.len());
    // As text and as JSON.
    let bytes = 2 * (length(&before) + length(&after));
    let (old_value, new_value) = if bytes <= left.shown_bytes {
        left.shown_bytes -= bytes;
        let document = |value: Option<bartizan_store::Value>| kinds::shown(kind, &value?.json);
        (document(before), document(after))
    } else {
        *without_document += 1;
        (None, None)
    };
    let person = people.find(view, sight, &entry)?;
    let zone = entry.key.zone_id();
    let Through { interface, route, import } = Through::read(&entry.interface);
    Ok(AuditLog {
        id: id_of(entry.place),
        when: entry.at,
        action: AuditAction {
            result: true,
            kind: match (entry.action, kind) {
                // Settings are there before anybody writes them down.
                (Action::Add, Kind::Settings) => Action::Change.to_string(),
                (action, _) => action.to_string(),
            },
        },
        actor: AuditActor {
            id: entry.user.map(|user| user.to_string()),
            email: person.email,
            ip: entry.client,
            kind: "user".to_owned(),
        },
        metadata: AuditMetadata {
            name: entry.name,
            zone_id: zone.map(|zone| zone.to_string()),
            zone_name: zone.map(|zone| people.zone(view, zone)).transpose()?.flatten(),
            route: route.map(str::to_owned),
            import: import.map(str::to_owned),
            objects: entry.object.is_none().then_some(entry.count),
        },
        resource: AuditResource { id: entry.object.unwrap_or_default(), kind: kind.text().to_owned() },
        interface: interface.to_owned(),
        old_text: old_value.as_ref().map(ToString::to_string),
        new_text: new_value.as_ref().map(ToString::to_string),
        old_value,
        new_value,
        owner: AuditOwner { id: entry.account.unwrap_or(sight.account()).to_string() },
        bartizan: AuditExtension {
            revision: entry.place.rev().0,
            key: entry.key.to_string(),
            request: hex::encode(entry.request_id),
            token: entry.token.map(|token| token.to_string()),
            token_name: person.token_name,
        },
    })
}

/// An entry is called by its place.
pub(super) fn id_of(place: AuditPlace) -> String {
    format!("{:032x}", place.0)
}

/// The place that an id names; none of what is no id.
pub(super) fn place_of(id: &str) -> Option<AuditPlace> {
    let number = u128::from_str_radix(id, 16).ok()?;
    u64::try_from(number).ok().filter(|number| *number < AuditRange::ALL.end.0).map(AuditPlace)
}

#[cfg(test)]
mod tests {
    use bartizan_names::{AccountId, Timestamp, TunnelId, UserId};
    use bartizan_store::{ChangeSet, Key, Meta, Op, Store, Value};

    use super::super::Params;
    use super::*;
    use crate::caller::Caller;

    const ALL: Page = Page { number: 1, size: 1_000 };
    const ACCOUNT: AccountId = AccountId::from_bytes([3; 16]);
    const USER: UserId = UserId::from_bytes([2; 16]);

    fn at(second: u64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000)
    }

    /// A store with so many changes of three objects each, one a second.
    fn store(directory: &std::path::Path, changes: u64) -> Store {
        let store = Store::open(directory).unwrap();
        for second in 1..=changes {
            let keys = (1..=3).map(|number| Key::tunnel_config(ACCOUNT, TunnelId::from_bytes([number; 16])));
            let meta = Meta {
                at: at(second),
                actor: format!("user:{USER}"),
                interface: "api".to_owned(),
                client: None,
                request_id: bartizan_seal::random(),
            };
            let value = Value::of(Kind::TunnelConfig, second.to_string());
            let ops = keys.map(|key| Op::Put { key, value: value.clone() }).collect();
            store.commit(ChangeSet { guards: Vec::new(), ops, meta }).unwrap();
        }
        store
    }

    fn wanted(view: &View, params: Params) -> Wanted {
        Wanted::read(view, params, None).unwrap().unwrap()
    }

    fn revisions(found: &Looked) -> Vec<u64> {
        let mut revisions: Vec<u64> = found.entries.iter().map(|entry| entry.bartizan.revision).collect();
        revisions.dedup();
        revisions
    }

    #[test]
    fn a_look_that_stops_goes_on_where_it_says() {
        let directory = tempfile::tempdir().unwrap();
        let view = View(store(directory.path(), 30).read().unwrap());
        let caller = Caller::with_all(USER, ACCOUNT);
        for (direction, expect) in [("desc", (1..=30).rev().collect::<Vec<_>>()), ("asc", (1..=30).collect())] {
            let (mut seen, mut count, mut looks, mut go_on) = (Vec::new(), 0, 0, None);
            loop {
                let mut params = Params { direction: Some(direction.to_owned()), ..Params::default() };
                let bound = if direction == "asc" { &mut params.after_revision } else { &mut params.before_revision };
                *bound = go_on;
                // It ends behind a whole revision.
                let found = look(
                    &view,
                    &Sight::new(&caller, ACCOUNT),
                    &wanted(&view, params),
                    ALL,
                    Budget { entries: 10, ..BUDGET },
                )
                .unwrap();
                seen.extend(revisions(&found));
                count += found.entries.len();
                looks += 1;
                assert_eq!(found.total, found.entries.len() as u64 + u64::from(found.stopped_at.is_some()));
                let Some(rev) = found.stopped_at else { break };
                go_on = Some(rev.0);
            }
            assert_eq!((seen, count), (expect, 90));
            assert!(looks > 5, "{looks}");
        }
    }

    /// What is newer than what is wanted costs nothing of the budget, nor does what is older.
    #[test]
    fn a_time_says_where_the_look_begins_and_ends() {
        let directory = tempfile::tempdir().unwrap();
        let view = View(store(directory.path(), 400).read().unwrap());
        let caller = Caller::with_all(USER, ACCOUNT);
        let day = |second: u64| at(second).to_string();
        for (since, before, expect, stops) in [
            (None, Some(150), 19..150, true),
            (Some(140), Some(150), 140..150, false),
            (Some(390), None, 390..401, false),
            (None, Some(20), 1..20, false),
            (Some(500), None, 0..0, false),
            (None, Some(0), 0..0, false),
        ] {
            let params = Params { since: since.map(day), before: before.map(day), ..Params::default() };
            let budget = Budget { entries: 3 * 230, ..BUDGET };
            let found = look(&view, &Sight::new(&caller, ACCOUNT), &wanted(&view, params), ALL, budget).unwrap();
            assert_eq!(revisions(&found), expect.rev().collect::<Vec<_>>(), "{since:?} {before:?}");
            assert_eq!(found.stopped_at.is_some(), stops, "{since:?} {before:?}");
        }
    }

    /// A token for one zone finds what it may see without a look at what others did in the account.
    #[test]
    fn a_narrow_token_looks_at_its_own_zone() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let zones = [ZoneId::from_bytes([5; 16]), ZoneId::from_bytes([6; 16])];
        let act = |ops: Vec<Op>| {
            let meta = Meta {
                at: at(1),
                actor: format!("user:{USER}"),
                interface: "api GET /".to_owned(),
                client: None,
                request_id: bartizan_seal::random(),
            };
            store.commit(ChangeSet { guards: Vec::new(), ops, meta }).unwrap();
        };
        for zone in zones {
            let json = serde_json::json!({"name": format!("{zone}.test"), "status": "active",
                "account": {"id": ACCOUNT}});
            act(vec![Op::Put { key: Key::zone(zone), value: Value::of(Kind::Zone, json.to_string()) }]);
        }
        for number in 0..50 {
            let value = Value::of(Kind::Settings, number.to_string());
            act(vec![Op::Put { key: Key::settings(zones[1]), value }]);
        }
        let view = View(store.read().unwrap());
        let mut caller = Caller::with_all(USER, ACCOUNT);
        let resource = format!("com.cloudflare.api.account.zone.{}", zones[0]);
        let policy: bartizan_v4::StoredPolicy = serde_json::from_value(serde_json::json!({
            "id": "1", "effect": "allow", "permissions": ["DNS Read"], "resources": {resource: "*"},
        }))
        .unwrap();
        caller.rights = crate::rights::Rights::read(&[policy]).unwrap().into();
        let found = look(
            &view,
            &Sight::new(&caller, ACCOUNT),
            &wanted(&view, Params::default()),
            ALL,
            Budget { entries: 5, ..BUDGET },
        )
        .unwrap();
        let seen: Vec<_> = found.entries.iter().map(|entry| entry.resource.id.clone()).collect();
        assert_eq!((seen, found.stopped_at), (vec![zones[0].to_string()], None));
    }

    #[test]
    fn ids_read_what_they_write() {
        for place in [0, 1, (1 << 45) - 1].map(AuditPlace) {
            assert_eq!(place_of(&id_of(place)), Some(place));
        }
        assert_eq!((place_of("x"), place_of(&"f".repeat(32)), place_of("")), (None, None, None));
    }
}
