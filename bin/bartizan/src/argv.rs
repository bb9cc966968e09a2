//! The argument list before the parser sees it: started as `cloudflared` or `cloudflare-warp` this program is the
//! connector, and so it is with `--hostname` in front of any command (the command lines of 2017 and 2018).

use std::ffi::OsString;
use std::path::Path;

/// Commands that stay what they are, whatever the program is called.
const OWN_COMMANDS: [&str; 5] = ["tunnel", "login", "logout", "help", "version"];

/// Puts `tunnel` in front where the words mean the connector.
pub fn rewrite(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let named_connector = args
        .first()
        .and_then(|program| Path::new(program).file_stem())
        .is_some_and(|stem| stem == "cloudflared" || stem == "cloudflare-warp");
    let Some(first) = args.get(1).and_then(|arg| arg.to_str()) else { return args };
    let bare_connector = first == "--hello-world" || first == "--hostname" || first.starts_with("--hostname=");
    let information = matches!(first, "--help" | "-h" | "--version" | "-V");
    if bare_connector || (named_connector && !OWN_COMMANDS.contains(&first) && !information) {
        args.insert(1, "tunnel".into());
    }
    args
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
            ("cloudflared --version", "cloudflared --version"),
        ] {
            let got: Vec<String> = rewrite(words.split(' ').map(Into::into))
                .iter()
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect();
            assert_eq!(got.join(" "), expect, "{words}");
        }
    }
}
