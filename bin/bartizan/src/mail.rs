//! Mail about servers of pools: what `[mail]` in `bartizan.toml` says, and who is told.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bartizan_clock::Clock;
use bartizan_names::OriginHost;
use bartizan_notify::{Counters, Given, Secrecy, Settings};
use bartizan_observed::PoolQuery;
use bartizan_store::{Key, Store};
use serde::Deserialize;

use crate::failure::{Cause, Failure};
use crate::text_file;

/// In the data directory.
const FOLDER: &str = "mail";

/// `[mail]`: the operator's mail server.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailTable {
    server: Option<String>,
    from: Option<String>,
    tls: Option<Encryption>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encryption {
    Starttls,
    Tls,
    None,
}

/// None where the file says nothing about mail.
pub fn settings(file: MailTable) -> anyhow::Result<Option<Settings>> {
    let MailTable { server, from, tls, user, password_file, ca } = file;
    let wrong = |reason: String| Failure::new(Cause::Usage, format!("[mail] is not right: {reason}"));
    let (server, from) = match (server, from) {
        (Some(server), Some(from)) => (server, from),
        (None, None) if tls.is_none() && user.is_none() && password_file.is_none() && ca.is_none() => return Ok(None),
        (None, _) => return Err(wrong("server is missing, such as \"smtp.example.com:587\"".to_owned()).into()),
        (_, None) => return Err(wrong("from is missing, the address that mails come from".to_owned()).into()),
    };
    if !bartizan_notify::is_address(&from) {
        return Err(wrong(format!("from: {from:?} is no address like edge@example.com")).into());
    }
    let (host, port) = place(&server).ok_or_else(|| {
        wrong(format!("server: {server:?} is not of the form smtp.example.com:587, 192.0.2.1:25 or [2001:db8::1]:25"))
    })?;
    let secrecy = match tls {
        None | Some(Encryption::Starttls) => Secrecy::StartTls,
        Some(Encryption::Tls) => Secrecy::Tls,
        Some(Encryption::None) => Secrecy::None,
    };
    let read = |what: &str, path: &Path| {
        text_file::read(path).map_err(|error| wrong(format!("{what}: {}: {error:#}", path.display())))
    };
    let credentials = match (user, password_file) {
        (None, None) => None,
        (Some(user), Some(path)) => {
            Some((user, read("password_file", &path)?.trim_end_matches(['\r', '\n']).to_owned()))
        }
        _ => return Err(wrong("user and password_file go together".to_owned()).into()),
    };
    let is_here = matches!(&host, OriginHost::Address(address) if address.is_loopback());
    if credentials.is_some() && secrecy == Secrecy::None && !is_here {
        return Err(wrong(
            "tls = \"none\" would tell everybody on the way the password; use starttls or tls".to_owned(),
        )
        .into());
    }
    let roots = ca.map(|path| read("ca", &path)).transpose()?;
    Ok(Some(Settings { host, port, secrecy, from, credentials, roots }))
}

/// A host and a port.
fn place(text: &str) -> Option<(OriginHost, u16)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((OriginHost::Address(address.ip()), address.port())).filter(|(_, port)| *port > 0);
    }
    let (host, port) = text.rsplit_once(':')?;
    let host: OriginHost = host.parse().ok()?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    // An address of more than one colon needs its brackets.
    (!matches!(host, OriginHost::Address(IpAddr::V6(_)))).then_some((host, port))
}

/// Tells people from here on.
pub fn start(
    settings: Settings,
    store: &Store,
    pools: Arc<dyn PoolQuery>,
    data: &Path,
    place: String,
    clock: &Clock,
) -> anyhow::Result<Arc<Counters>> {
    let (store, clock) = (store.clone(), clock.clone());
    let who = move |account, pool| {
        let entry = store.read().ok()?.get(&Key::pool(account, pool)).ok()??;
        let document: bartizan_v4::Pool = serde_json::from_str(&entry.value.json).ok()?;
        let pool = bartizan_model::Pool::parse(&document).ok()?;
        Some((document.name, pool.emails))
    };
    let now = Arc::new(move || clock.now());
    let given = Given { settings, pools, who: Arc::new(who), dir: data.join(FOLDER), place, now };
    Ok(bartizan_notify::start(given)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Settings>, String> {
        settings(toml::from_str(text).map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_table_says() {
        let dir = tempfile::tempdir().unwrap();
        let password = dir.path().join("password");
        std::fs::write(&password, "secret\n").unwrap();
        assert!(read("").unwrap().is_none());
        let with =
            |rest: &str| read(&format!("server = \"smtp.example.com:587\"\nfrom = \"edge@example.com\"\n{rest}"));
        let found = with("").unwrap().unwrap();
        assert_eq!((found.port, found.secrecy, found.credentials), (587, Secrecy::StartTls, None));
        let file = format!("password_file = {:?}", password.to_str().unwrap());
        let found = with(&format!("tls = \"tls\"\nuser = \"me\"\n{file}")).unwrap().unwrap();
        assert_eq!((found.secrecy, found.credentials), (Secrecy::Tls, Some(("me".to_owned(), "secret".to_owned()))));
        for (rest, expect) in [
            ("user = \"me\"", "user and password_file go together"),
            (&*file, "user and password_file go together"),
            (&*format!("user = \"me\"\n{file}\ntls = \"none\""), "would tell everybody"),
            ("user = \"me\"\npassword_file = \"/nowhere/at/all\"", "password_file: /nowhere/at/all"),
            ("ca = \"/nowhere/at/all\"", "ca: /nowhere/at/all"),
            ("tls = \"maybe\"", "unknown variant"),
            ("port = 1", "unknown field"),
        ] {
            let error = with(rest).unwrap_err();
            assert!(error.contains(expect), "{rest}: {error}");
        }
        for (text, expect) in [
            ("from = \"edge@example.com\"", "server is missing"),
            ("tls = \"tls\"", "server is missing"),
            ("server = \"smtp.example.com:25\"", "from is missing"),
            ("server = \"smtp.example.com\"\nfrom = \"edge@example.com\"", "is not of the form"),
            ("server = \"smtp.example.com:0\"\nfrom = \"edge@example.com\"", "is not of the form"),
            ("server = \"2001:db8::1:25\"\nfrom = \"edge@example.com\"", "is not of the form"),
            ("server = \"smtp.example.com:25\"\nfrom = \"edge\"", "is no address"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
        }
        let here = "server = \"[::1]:25\"\nfrom = \"edge@example.com\"\ntls = \"none\"\nuser = \"me\"\n";
        assert!(read(&format!("{here}{file}")).unwrap().is_some());
    }
}
