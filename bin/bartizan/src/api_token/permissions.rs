//! What a token may do, in plain words: a command's own word stands for all that its calls need, and other words for the
//! permission group of the edge that they name.

use serde_json::Value;

use crate::failure::{Cause, Failure};
use crate::zone::text;

/// Commands, each with the permission groups that its calls need.
const COMMANDS: [(&str, &[&str]); 20] = [
    ("zone", &["Zone Write"]),
    ("record", &["DNS Write"]),
    ("app", &["Zone Settings Write"]),
    ("cert", &["SSL and Certificates Write"]),
    ("client-cert", &["SSL and Certificates Write"]),
    ("origin-ca", &["SSL and Certificates Write"]),
    ("origin-cert", &["SSL and Certificates Write"]),
    ("dnssec", &["Zone Settings Write"]),
    ("firewall", &["Firewall Services Write", OF_ALL_ZONES]),
    // Beside the tunnel itself: the records that lead to it, and the applications for its ports.
    ("tunnel", &["Cloudflare Tunnel Write", "DNS Write", "Zone Settings Write"]),
    ("pool", &["Load Balancing: Monitors and Pools Write"]),
    ("monitor", &["Load Balancing: Monitors and Pools Write"]),
    // Which pools there are, and the zones of names.
    ("lb", &["Load Balancers Write", "Load Balancing: Monitors and Pools Read"]),
    ("analytics", &["Analytics Read"]),
    // Addresses of visitors and paths are in what it shows.
    ("tail", &["Logs Read"]),
    ("token", &["API Tokens Write", "User Details Read"]),
    ("user", &["Edge Users Read"]),
    // A change is shown to who may read what was changed.
    (
        "history",
        &[
            "Account Settings Read",
            "Zone Read",
            "DNS Read",
            "Zone Settings Read",
            "Firewall Services Read",
            "Account Firewall Access Rules Read",
            "Cloudflare Tunnel Read",
            "API Tokens Read",
            "User Details Read",
        ],
    ),
    // And undone by who may change it.
    (
        "undo",
        &[
            "Account Settings Read",
            "Zone Write",
            "DNS Write",
            "Zone Settings Write",
            "Firewall Services Write",
            OF_ALL_ZONES,
            "Cloudflare Tunnel Write",
            "API Tokens Write",
            "User Details Read",
        ],
    ),
    ("status", &["Account Settings Read", "Cloudflare Tunnel Read", "Zone Read"]),
];

/// Commands that change what only a token that may do everything changes: a user may do all of that. Others look.
const FOR_ALL_RIGHTS: [&str; 1] = ["user"];

/// A permission over the account by which rules are made that hold in all zones.
const OF_ALL_ZONES: &str = "Account Firewall Access Rules Write";

const READ: &str = " Read";
const WRITE: &str = " Write";

/// In which zones the token is to work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Zones {
    All,
    Named,
}

/// The permission groups that somebody means by a word. Without `read` or `write` (or `edit`) behind it, writing, which is
/// reading too.
pub fn meant<'g>(groups: &'g [Value], word: &str, zones: Zones) -> anyhow::Result<Vec<&'g Value>> {
    let lower = word.to_lowercase();
    let (name, only_read) = match lower.split_once(':') {
        Some((name, "read")) => (name, true),
        Some((name, "write" | "edit")) => (name, false),
        _ => (lower.as_str(), false),
    };
    if FOR_ALL_RIGHTS.contains(&name) && !only_read {
        return Err(Failure::new(Cause::Usage, format!("{name:?} takes a token that may do everything"))
            .remedy(format!("use the administrator's; --can {name}:read is enough to look"))
            .into());
    }
    let Some((_, needed)) = COMMANDS.iter().find(|(command, _)| *command == name) else {
        return Ok(vec![group(groups, word)?]);
    };
    // A token for some zones is not one for rules in all of them.
    let needed = needed.iter().filter(|group| zones == Zones::All || **group != OF_ALL_ZONES);
    needed
        .map(|group| match group.strip_suffix(WRITE).filter(|_| only_read) {
            Some(what) => named(groups, &format!("{what}{READ}")),
            None => named(groups, group),
        })
        .collect()
}

/// What is said behind `token create NAME` of a permission that a command lacks: by the command's own word where that has it,
/// so that the next call of the command lacks no other.
pub fn words_for(command: &str, group: &str) -> String {
    let needed = COMMANDS.iter().find(|(name, _)| *name == command).map_or(&[][..], |(_, needed)| *needed);
    let is_read_of = |one: &&str| one.strip_suffix(WRITE).is_some_and(|what| group == format!("{what}{READ}"));
    let has = |what: &str| format!("--can {what}` makes one that has it");
    match () {
        () if FOR_ALL_RIGHTS.contains(&command) && needed.contains(&group) => has(&format!("{command}:read")),
        () if needed.contains(&group) => has(command),
        () if needed.iter().any(is_read_of) => {
            format!("--can {command}` makes one that has it, `--can {command}:read` one that only looks")
        }
        () => has(&word_for(group)),
    }
}

/// A word for a group that [`meant`] understands.
pub fn word_for(group: &str) -> String {
    let word = |what: &str| words_of(&what.to_lowercase()).join("-");
    match (group.strip_suffix(WRITE), group.strip_suffix(READ)) {
        (Some(what), _) => word(what),
        (None, Some(what)) => format!("{}:read", word(what)),
        (None, None) => word(group),
    }
}

fn words_of(name: &str) -> Vec<&str> {
    name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

fn named<'g>(groups: &'g [Value], name: &str) -> anyhow::Result<&'g Value> {
    groups.iter().find(|group| text(group, "name") == name).ok_or_else(|| {
        Failure::new(Cause::Failed, format!("this edge has no permission {name}"))
            .remedy("is it older than this program? Name what it has: `bartizan token create --help`")
            .into()
    })
}

/// How the words of a group's name may fit those that somebody gives; the first way in which there is one decides.
type Way = fn(&[&str], &[&str]) -> bool;
const WAYS: [Way; 3] = [
    |name, wanted| name == wanted,
    |name, wanted| name.starts_with(wanted),
    |name, wanted| wanted.iter().all(|word| name.contains(word)),
];

/// The permission group that somebody means: by its name, by how its name begins, or by words that only one has.
fn group<'g>(groups: &'g [Value], word: &str) -> anyhow::Result<&'g Value> {
    let lower = word.to_lowercase();
    let mut wanted = words_of(&lower);
    let verbs: &[&str] = match wanted.last() {
        Some(&"read") => &["read"],
        Some(&"write" | &"edit") => &["write"],
        _ => &["write", "read"],
    };
    if verbs.len() == 1 {
        wanted.pop();
    }
    let refused = |why: &str| {
        let commands: Vec<&str> = COMMANDS.iter().map(|(command, _)| *command).collect();
        let names: Vec<String> = groups.iter().map(|group| word_for(text(group, "name"))).collect();
        let commands = commands.join(", ");
        Failure::new(Cause::Usage, format!("{word:?} {why}"))
            .remedy(format!("a command's word: {commands}; or a permission: {}", names.join(", ")))
    };
    for verb in verbs {
        for way in WAYS.iter().filter(|_| !wanted.is_empty()) {
            let of_verb = groups.iter().filter(|group| {
                let name = text(group, "name").to_lowercase();
                let mut words = words_of(&name);
                words.pop() == Some(verb) && way(&words, &wanted)
            });
            match of_verb.collect::<Vec<_>>().as_slice() {
                [one] => return Ok(one),
                [] => {}
                _ => return Err(refused("may be several permissions").into()),
            }
        }
    }
    Err(refused("is no permission").into())
}

#[cfg(test)]
mod tests {
    use bartizan_api::Permission;
    use serde_json::json;

    use super::*;

    fn all() -> Vec<Value> {
        Permission::ALL.iter().map(|one| json!({"name": one.group()})).collect()
    }

    fn names(groups: &[Value], word: &str, zones: Zones) -> Option<String> {
        let found = meant(groups, word, zones).ok()?;
        Some(found.iter().map(|group| text(group, "name")).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn plain_words_for_permissions() {
        let groups = all();
        for (word, expect) in [
            ("dns", Some("DNS Write")),
            ("DNS:read", Some("DNS Read")),
            ("DNS Edit", Some("DNS Write")),
            ("record", Some("DNS Write")),
            ("zone", Some("Zone Write")),
            ("zone:edit", Some("Zone Write")),
            ("zone-settings:read", Some("Zone Settings Read")),
            ("account settings", Some("Account Settings Write")),
            ("firewall", Some("Firewall Services Write, Account Firewall Access Rules Write")),
            ("firewall:read", Some("Firewall Services Read, Account Firewall Access Rules Read")),
            ("firewall services", Some("Firewall Services Write")),
            ("account firewall", Some("Account Firewall Access Rules Write")),
            ("tunnel", Some("Cloudflare Tunnel Write, DNS Write, Zone Settings Write")),
            ("cloudflare tunnel", Some("Cloudflare Tunnel Write")),
            ("token:read", Some("API Tokens Read, User Details Read")),
            ("api tokens", Some("API Tokens Write")),
            ("user", None),
            ("user:read", Some("Edge Users Read")),
            ("user-details", Some("User Details Write")),
            ("tokens", None),
            ("account", None),
            ("read", None),
            ("", None),
            ("mail", None),
        ] {
            assert_eq!(names(&groups, word, Zones::All).as_deref(), expect, "{word}");
        }
        assert_eq!(names(&groups, "firewall", Zones::Named).as_deref(), Some("Firewall Services Write"));
    }

    /// A command's own word is told where it gives what was missing, and with all that the command lacks next.
    #[test]
    fn a_missing_right_is_told_by_the_command_word() {
        let groups = all();
        for (command, group, expect) in [
            ("history", "Account Settings Read", "--can history` makes one that has it"),
            ("history", "Cloudflare Tunnel Read", "--can history` makes one that has it"),
            ("undo", "DNS Write", "--can undo` makes one that has it"),
            ("record", "DNS Write", "--can record` makes one that has it"),
            ("record", "DNS Read", "--can record` makes one that has it, `--can record:read` one that only looks"),
            ("user", "Edge Users Read", "--can user:read` makes one that has it"),
            ("user", "Edge Users Write", "--can edge-users` makes one that has it"),
            ("", "DNS Read", "--can dns:read` makes one that has it"),
        ] {
            let told = words_for(command, group);
            assert_eq!(told, expect, "{command} {group}");
            for word in told.split("--can ").skip(1).filter_map(|rest| rest.split('`').next()) {
                let found = names(&groups, word, Zones::All).unwrap();
                assert!(
                    found.split(", ").any(|name| name.replace(WRITE, READ) == group.replace(WRITE, READ)),
                    "{word}: {found}"
                );
            }
        }
    }

    /// What a refusal tells people to type gives what was missing.
    #[test]
    fn each_permission_has_a_word() {
        let groups = all();
        for permission in Permission::ALL {
            let found = names(&groups, &word_for(permission.group()), Zones::All).unwrap();
            assert!(found.split(", ").any(|name| name == permission.group()), "{permission:?}: {found}");
        }
    }
}
