//! `--dry-run` of all commands that there are: each tells what it would change and changes nothing, or refuses the flag by name.

use std::collections::BTreeSet;
use std::process::Command;

use bartizan_e2e::{Edge, Finished, bartizan, finish};
use serde_json::{Value, json};

/// What `--dry-run` makes of a command.
#[derive(Clone, Copy)]
enum Told {
    /// A line of what would be: `add record`.
    Would(&'static str),
    /// It refuses the flag, and why.
    Refuses(&'static str),
    /// It is judged as without the flag, and this one is refused.
    Judged(&'static str),
}

use Told::{Judged, Refuses, Would};

const READS: Told = Refuses("it changes nothing");

/// A line for each command, in the order of `--help`.
const COMMANDS: &[(&str, Told)] = &[
    ("up", Refuses("it serves")),
    ("login", Refuses("is let in")),
    ("logout", Refuses("over or it is not")),
    ("dashboard", Refuses("is made or it is not")),
    ("tunnel --hostname new.DOMAIN --hello-world", Refuses("it runs a connector")),
    ("tunnel run office", Refuses("it runs a connector")),
    ("tunnel create home", Would("add tunnel home")),
    ("tunnel list", READS),
    ("tunnel info office", READS),
    ("tunnel delete office", Would("change tunnel office")),
    ("tunnel cleanup office", Refuses("nothing that is stored")),
    ("tunnel token office", READS),
    ("tunnel route dns office new.DOMAIN", Would("add record new.DOMAIN")),
    ("zone list", READS),
    ("zone show DOMAIN", READS),
    ("zone create new.example", Would("add zone new.example")),
    ("zone import FILE --zone DOMAIN", Would("1 of 1 records would come into DOMAIN")),
    ("zone export DOMAIN", READS),
    ("zone diff DOMAIN --server 127.0.0.1:9", READS),
    ("zone check DOMAIN", READS),
    ("zone flag-phishing DOMAIN on", Would("change zone DOMAIN")),
    ("zone delete DOMAIN", Would("delete zone DOMAIN")),
    ("record list DOMAIN", READS),
    ("record create new.DOMAIN A 192.0.2.7", Would("+ content: 192.0.2.7")),
    ("record create www.DOMAIN A 192.0.2.1", Judged("already exists")),
    ("record update www.DOMAIN A --content 192.0.2.2", Would("content: 192.0.2.1 → 192.0.2.2")),
    ("record update www.DOMAIN A --content 192.0.2.1", Would("nothing would become another")),
    ("record delete www.DOMAIN A", Would("delete record www.DOMAIN")),
    ("dnssec enable DOMAIN", Would("add dnssec")),
    ("dnssec disable signed.example --force", Would("delete dnssec")),
    ("dnssec status DOMAIN", READS),
    ("dnssec ds DOMAIN", READS),
    ("dnssec ds sub.signed.example --put", Would("add record sub.signed.example")),
    ("dnssec list", READS),
    ("dnssec finish", Refuses("for parent zones and registries to say")),
    ("dnssec registry list", READS),
    ("dnssec registry set uk --way cds", Would("add registry uk")),
    ("dnssec registry remove dk", Would("delete registry dk")),
    ("dnssec roll signed.example", Would("change dnssec")),
    ("cert list", READS),
    ("cert show DOMAIN 0", READS),
    ("cert issue DOMAIN", Judged("")),
    ("cert renew DOMAIN", Judged("")),
    ("cert off DOMAIN", Would("")),
    ("cert upload brought.example --cert CERT --key KEY", Would("add custom_certificate brought.example")),
    ("cert delete brought.example BROUGHT", Would("delete custom_certificate brought.example")),
    ("cert account show", READS),
    ("cert account set --agree-terms", Would("")),
    ("cert account remove", Judged("no account at a public authority")),
    ("client-cert issue DOMAIN --csr CSR", Would("add ")),
    ("client-cert list DOMAIN", READS),
    ("client-cert revoke DOMAIN NOBODY", Judged("not found")),
    ("client-cert reactivate DOMAIN NOBODY", Judged("not found")),
    ("client-cert authority add DOMAIN CERT --name devices", Would("add ")),
    ("client-cert authority list DOMAIN", READS),
    ("client-cert authority crl DOMAIN NOBODY CERT", Judged("")),
    ("client-cert authority delete DOMAIN NOBODY", Judged("perhaps your object identifier")),
    ("client-cert host list DOMAIN", READS),
    ("client-cert host set DOMAIN www.DOMAIN --mode report", Would("add ")),
    ("client-cert host remove DOMAIN www.DOMAIN", Judged("for no certificate")),
    ("origin-ca list DOMAIN", READS),
    ("origin-ca add DOMAIN CERT", Would("add origin_root")),
    ("origin-ca remove DOMAIN NOBODY", Judged("")),
    ("origin-cert list DOMAIN", READS),
    ("origin-cert add DOMAIN --cert CERT --key KEY", Would("add origin_client")),
    ("origin-cert remove DOMAIN NOBODY", Judged("")),
    ("origin-cert on DOMAIN", Would("settings")),
    ("origin-cert off DOMAIN", Would("")),
    ("origin-cert release DOMAIN www.DOMAIN", Would("nothing would become another")),
    ("import cloudflare --from API --token-file TOKEN --without-rules --zone DOMAIN", Would("would come into DOMAIN")),
    ("import bind FILE --zone DOMAIN", Would("1 of 1 records would come into DOMAIN")),
    ("import octodns YAML --zone DOMAIN", Would("1 of 1 records would come into DOMAIN")),
    ("export bind DOMAIN", READS),
    ("export octodns DOMAIN", READS),
    ("app create other.DOMAIN tcp/23 tcp://127.0.0.1:23", Would("add app")),
    ("app list", READS),
    ("app show ssh.DOMAIN", READS),
    ("app delete ssh.DOMAIN", Would("delete app")),
    ("pool create other 192.0.2.1", Would("add pool other")),
    ("pool list", READS),
    ("pool show web", READS),
    ("pool health web", READS),
    ("pool preview web", READS),
    ("pool disable web", Would("change pool web")),
    ("pool enable web", Would("nothing would become another")),
    ("pool delete web", Judged("leads to it")),
    ("monitor create other --path /health", Would("add monitor other")),
    ("monitor list", READS),
    ("monitor show health", READS),
    ("monitor preview health", READS),
    ("monitor delete health", Would("delete monitor health")),
    ("lb create other.DOMAIN web", Would("add load_balancer other.DOMAIN")),
    ("lb create other.DOMAIN named --srv _http._tcp", Would("add load_balancer _http._tcp.other.DOMAIN")),
    ("lb list", READS),
    ("lb show lb.DOMAIN", READS),
    ("lb delete lb.DOMAIN", Would("delete load_balancer lb.DOMAIN")),
    ("dns trace www.DOMAIN", READS),
    ("analytics dns DOMAIN", READS),
    ("analytics http DOMAIN", READS),
    ("analytics apps DOMAIN", READS),
    ("tail DOMAIN", READS),
    ("trace https://www.DOMAIN/", READS),
    ("firewall block 192.0.2.8", Would("add access_rule")),
    ("firewall allow 192.0.2.8", Would("+ mode: whitelist")),
    ("firewall list", READS),
    ("firewall remove 192.0.2.9", Would("delete access_rule")),
    ("firewall test 192.0.2.9", READS),
    ("token create new --can dns", Would("add token new")),
    ("token list", READS),
    ("token show other", READS),
    ("token roll other", Would("change token other")),
    ("token delete other", Would("delete token other")),
    ("user create bob@example.com --role DNS --account ACCOUNT", Would("add user")),
    ("user list", READS),
    ("user passwd ann@example.com", Would("change user")),
    ("user disable ann@example.com", Would("status: active → disabled")),
    ("user enable ann@example.com", Would("nothing would become another")),
    ("user delete ann@example.com", Would("delete user")),
    ("account list", READS),
    ("account create Third", Would("add account Third")),
    ("account rename Other Another", Would("name: Other → Another")),
    ("account delete Other", Would("delete account Other")),
    ("account member add ann@example.com --role Administrator --account ACCOUNT", Would("add membership")),
    ("account member list", READS),
    ("account member remove ann@example.com --account Other", Would("delete membership")),
    ("account member roles", READS),
    ("history", READS),
    ("undo REVISION", Would("delete access_rule")),
    ("doctor", READS),
    ("doctor --rebuild", Refuses("makes the store's file anew")),
    ("completions bash", READS),
    ("clock show", READS),
    ("clock believe", Would("add clock_word")),
    ("trust", Refuses("this machine's stores")),
    ("backup BACKUP", Refuses("made or it is not")),
    ("backup verify BACKUP", Refuses("made or it is not")),
    ("restore BACKUP", Refuses("never writes over anything")),
    ("status", READS),
];

/// The commands that `--help` names, those with others below them included where they do something themselves.
fn commands(edge: &Edge) -> BTreeSet<String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![String::new()]);
    while let Some(command) = open.pop() {
        let words = command.split_whitespace().chain(["--help"]);
        let help = finish(bartizan(edge.folder()).args(words)).ok();
        let below: Vec<&str> = match help.split_once("\nCommands:\n") {
            Some((_, list)) => list.lines().take_while(|line| !line.is_empty()).filter_map(name).collect(),
            None => Vec::new(),
        };
        if below.is_empty() || ["tunnel", "backup"].contains(&command.as_str()) {
            found.insert(command.clone());
        }
        let path = |name: &&str| format!("{command} {name}").trim().to_owned();
        open.extend(below.iter().filter(|name| **name != "help").map(path));
    }
    found
}

/// The name in front of a line of a list of commands; further lines of its words are deeper.
fn name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("  ")?;
    rest.split_whitespace().next().filter(|_| !rest.starts_with(' '))
}

/// The command of a line: its words as far as they are commands.
fn command_of<'c>(line: &str, all: &'c BTreeSet<String>) -> Option<&'c String> {
    all.iter()
        .filter(|command| line == **command || line.starts_with(&format!("{command} ")))
        .max_by_key(|one| one.len())
}

/// A certificate that this machine's OpenSSL makes; the paths of it and of its key.
fn certificate(edge: &Edge, names: &str) -> (String, String) {
    let path = |name: &str| edge.folder().join(name).to_string_lossy().into_owned();
    let (pem, key) = (path("brought.pem"), path("brought.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]);
    openssl.args(["-subj", "/CN=brought", "-addext", &format!("subjectAltName={names}")]);
    finish(openssl.args(["-keyout", &key, "-out", &pem])).ok();
    (pem, key)
}

/// What a client sends to be issued a certificate.
fn request(edge: &Edge, key: &str) -> String {
    let path = edge.folder().join("client.csr").to_string_lossy().into_owned();
    finish(Command::new("openssl").args(["req", "-new", "-subj", "/CN=client", "-key", key, "-out", &path])).ok();
    path
}

#[test]
fn every_command_tells_what_it_would_do_or_refuses_to() {
    let edge = Edge::start_with(&["--pool", "127.101.0.0/16"]);
    let domain = edge.domain().to_owned();
    let file = |name: &str, text: &str| {
        let path = edge.folder().join(name);
        std::fs::write(&path, text).expect("a file of the test");
        path.to_string_lossy().into_owned()
    };
    let run = |line: &str| finish(&mut edge.command(line.split(' '))).ok();
    for line in [
        format!("record create www.{domain} A 192.0.2.1"),
        "zone create signed.example".to_owned(),
        "zone create brought.example".to_owned(),
        "zone create sub.signed.example".to_owned(),
        "dnssec enable sub.signed.example".to_owned(),
        "dnssec enable signed.example".to_owned(),
        "dnssec registry set dk --way cds".to_owned(),
        "tunnel create office".to_owned(),
        format!("app create ssh.{domain} tcp/22 tcp://127.0.0.1:22"),
        "monitor create health".to_owned(),
        "pool create web 192.0.2.1".to_owned(),
        "pool create named one.example.com:80".to_owned(),
        format!("lb create lb.{domain} web"),
        "token create other --can dns".to_owned(),
        "user create ann@example.com".to_owned(),
        "account create Other".to_owned(),
        "account member add ann@example.com --role Administrator --account Other".to_owned(),
        "firewall block 192.0.2.9".to_owned(),
    ] {
        run(&line);
    }
    // Of what people change; what the edge does by itself meanwhile is in no history.
    let revision = || {
        let newest = run("--json history --count 1");
        let newest: Value = serde_json::from_str(&newest).expect("a list");
        newest[0]["bartizan"]["revision"].as_u64().expect("a number")
    };
    let newest = revision();
    let (pem, key) = certificate(&edge, "DNS:brought.example");
    let brought = run(&format!("--json cert upload brought.example --cert {pem} --key {key}"));
    let brought: Value = serde_json::from_str(&brought).expect("a document");
    let csr = request(&edge, &key);
    let zone_file = file("zone.txt", &format!("new.{domain}. 60 IN A 192.0.2.7\n"));
    let yaml = file("zone.yaml", "new: {type: A, value: 192.0.2.7}\n");
    let token = file("token", edge.token());
    let backup = edge.folder().join("backup").to_string_lossy().into_owned();
    let filled = |text: &str| {
        [
            ("DOMAIN", domain.as_str()),
            ("REVISION", &newest.to_string()),
            ("ACCOUNT", edge.account()),
            ("API", edge.api_url()),
            ("BROUGHT", brought["id"].as_str().expect("an id")),
            ("BACKUP", &backup),
            ("CERT", &pem),
            ("CSR", &csr),
            ("NOBODY", "00000000000000000000000000000000"),
            ("KEY", &key),
            ("FILE", &zone_file),
            ("YAML", &yaml),
            ("TOKEN", &token),
        ]
        .iter()
        .fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    };
    let (all, before) = (commands(&edge), revision());
    let (mut rest, mut faults) = (all.clone(), Vec::new());
    for (line, told) in COMMANDS {
        rest.remove(command_of(line, &all).unwrap_or_else(|| panic!("{line} is no command")));
        let line = filled(line);
        let Finished { status, out, err, .. } = finish(edge.command(line.split(' ')).arg("--dry-run"));
        let is_refused = err.contains("--dry-run is not for this command");
        let is_right = match told {
            Would(expect) => status.success() && out.contains(&filled(expect)),
            Refuses(why) => status.code() == Some(2) && is_refused && err.contains(why),
            Judged(why) => !status.success() && !is_refused && err.contains(why),
        };
        if !is_right || revision() != before {
            faults.push(format!("{line}\n{out}{err}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(rest, BTreeSet::new(), "commands that no line is of");
    assert!(!edge.folder().join("backup").exists());
}

/// For scripts it is the answer of the API; what cannot be tried yet is told.
#[test]
fn a_dry_run_as_a_document() {
    let edge = Edge::start();
    let name = format!("new.{}", edge.domain());
    let words = ["--json", "record", "create", &name, "A", "192.0.2.7", "--dry-run"];
    let told: Value = serde_json::from_str(&finish(&mut edge.command(words)).ok()).expect("a document");
    assert_eq!((&told["success"], &told["dry_run"]["objects"]), (&json!(true), &json!(1)), "{told}");
    let change = &told["dry_run"]["changes"][0];
    assert_eq!((&change["action"]["type"], &change["newValueJson"]["content"]), (&json!("add"), &json!("192.0.2.7")));
    let words = ["user", "create", "bob@example.com", "--role", "DNS", "--dry-run"];
    let tried = finish(&mut edge.command(words));
    assert!(tried.err.contains("they would be a member: DNS") && !tried.err.contains("password"), "{}", tried.err);
    assert!(tried.ok().starts_with("add user"));
    assert!(!finish(&mut edge.command(["user", "list"])).ok().contains("bob@"));
    // What goes with a zone goes in the background.
    finish(&mut edge.command(["record", "create", &name, "A", "192.0.2.7"])).ok();
    let tried = finish(&mut edge.command(["zone", "delete", edge.domain(), "--dry-run"]));
    assert!(tried.err.contains("with bartizan.localhost would go 1 record"), "{}", tried.err);
}
