//! The argument list before the parser sees it: started as `cloudflared` or `cloudflare-warp` this program is the
//! connector, and so it is with `--hostname` in front of any command (the command lines of 2017 and 2018). What says which
//! edge is meant may stand in front of a command, as what every command understands does: it is put behind it.

use std::ffi::OsString;
use std::path::Path;

/// Commands that stay what they are, whatever the program is called.
const OWN_COMMANDS: [&str; 5] = ["tunnel", "login", "logout", "help", "version"];

/// What says which edge is meant, each with a value: commands have them, and those that are for no edge refuse them.
const WHICH_EDGE: [&str; 5] = ["--api", "--api-token", "--api-token-file", "--cacert", "--data"];

/// Puts `tunnel` in front where the words mean the connector, and what says which edge is meant behind the command.
pub fn rewrite(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let named_connector = args
        .first()
        .and_then(|program| Path::new(program).file_stem())
        .is_some_and(|stem| stem == "cloudflared" || stem == "cloudflare-warp");
    let Some(first) = args.get(1).and_then(|arg| arg.to_str()) else { return args };
    // As stock clients spell it today.
    if named_connector && first == "tunnel" && args.get(2).is_some_and(|second| second == "login") {
        args.remove(1);
        return behind_command(args);
    }
    let name = first.split_once('=').map_or(first, |(name, _)| name);
    let bare_connector = matches!(name, "--hello-world" | "--hostname" | "--lb-pool");
    let information = matches!(first, "--help" | "-h" | "--version" | "-V");
    if bare_connector || (named_connector && !OWN_COMMANDS.contains(&first) && !information) {
        args.insert(1, "tunnel".into());
    }
    behind_command(args)
}

/// The words with those that say which edge is meant behind the command, if they stand in front of it.
fn behind_command(args: Vec<OsString>) -> Vec<OsString> {
    let (mut before, mut edge) = (Vec::new(), Vec::new());
    let mut words = args.into_iter();
    before.extend(words.next());
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        let (name, has_value) = text.split_once('=').map_or((text, false), |(name, _)| (name, true));
        if WHICH_EDGE.contains(&name) {
            edge.push(word);
            edge.extend(if has_value { None } else { words.next() });
            continue;
        }
        let is_command = !text.starts_with('-');
        before.push(word);
        if is_command {
            break;
        }
    }
    before.into_iter().chain(edge).chain(words).collect()
}

#[cfg(test)]
mod tests {
    use super::rewrite;

    #[test]
    fn connector_command_lines() {
        for (words, expect) in [
            ("bartizan up", "bartizan up"),
            ("bartizan", "bartizan"),
            ("bartizan --hostname a.b http://localhost:1", "bartizan tunnel --hostname a.b http://localhost:1"),
            ("bartizan --hostname=a.b --hello-world", "bartizan tunnel --hostname=a.b --hello-world"),
            ("bartizan --hello-world", "bartizan tunnel --hello-world"),
            ("bartizan tunnel --hostname a.b x", "bartizan tunnel --hostname a.b x"),
            ("/usr/bin/cloudflared run x", "/usr/bin/cloudflared tunnel run x"),
            ("cloudflared login", "cloudflared login"),
            ("cloudflare-warp --hostname a.b", "cloudflare-warp tunnel --hostname a.b"),
            ("cloudflare-warp login", "cloudflare-warp login"),
            ("cloudflared tunnel login", "cloudflared login"),
            ("cloudflared tunnel list", "cloudflared tunnel list"),
            ("bartizan tunnel login", "bartizan tunnel login"),
            ("cloudflared --lb-pool p --hostname a.b u", "cloudflared tunnel --lb-pool p --hostname a.b u"),
            ("bartizan --lb-pool=p --hostname a.b u", "bartizan tunnel --lb-pool=p --hostname a.b u"),
            ("cloudflared --version", "cloudflared --version"),
            ("bartizan --api-token-file f zone list", "bartizan zone --api-token-file f list"),
            ("bartizan --json --api=u --data d -q zone list", "bartizan --json -q zone --api=u --data d list"),
            ("bartizan zone --data d list", "bartizan zone --data d list"),
            ("bartizan --json --data", "bartizan --json --data"),
        ] {
            let got: Vec<String> = rewrite(words.split(' ').map(Into::into))
                .iter()
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect();
            assert_eq!(got.join(" "), expect, "{words}");
        }
    }
}
