//! Replies of a mail server (RFC 5321 §4.2), and texts on the way to one (§4.5.2).

/// Octets of a reply, however many lines it has: forty of the longest.
pub const REPLY_MAX: usize = 20 * 1024;

/// What a server answers to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// Without code and end, and what cannot be shown in them is a question mark.
    pub lines: Vec<String>,
}

/// It is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what it answers is not SMTP")]
pub struct NoReply;

impl Reply {
    /// Whether what was asked for is done, or goes on.
    pub const fn is_good(&self) -> bool {
        self.code < 400
    }

    /// Whether the same may go well later.
    pub const fn is_passing(&self) -> bool {
        self.code >= 400 && self.code < 500
    }

    /// Whether a server says in answer to EHLO that it has this (RFC 5321 §4.1.1.1), and with this parameter if there is one.
    pub fn offers(&self, keyword: &str, parameter: Option<&str>) -> bool {
        // The first line greets.
        self.lines.iter().skip(1).any(|line| {
            let mut words = line.split([' ', '=']);
            words.next().is_some_and(|word| word.eq_ignore_ascii_case(keyword))
                && parameter.is_none_or(|wanted| words.any(|word| word.eq_ignore_ascii_case(wanted)))
        })
    }
}

/// The reply at the beginning of what came, and its length; none as long as it is not whole.
pub fn read(input: &[u8]) -> Result<Option<(Reply, usize)>, NoReply> {
    let (mut at, mut code, mut lines) = (0, None, Vec::new());
    loop {
        let rest = &input[at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if input.len() >= REPLY_MAX { Err(NoReply) } else { Ok(None) };
        };
        at += end + 1;
        if at > REPLY_MAX {
            return Err(NoReply);
        }
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let (digits, text) = line.split_at_checked(3).ok_or(NoReply)?;
        let [first, second, third] = *digits else { return Err(NoReply) };
        if !(b'2'..=b'5').contains(&first) || !second.is_ascii_digit() || !third.is_ascii_digit() {
            return Err(NoReply);
        }
        let number = [first, second, third].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        if *code.get_or_insert(number) != number {
            return Err(NoReply);
        }
        let (goes_on, text) = match text {
            [] => (false, text),
            [b'-', text @ ..] => (true, text),
            [b' ', text @ ..] => (false, text),
            _ => return Err(NoReply),
        };
        let shown = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '?' };
        lines.push(text.iter().map(shown).collect());
        if !goes_on {
            return Ok(Some((Reply { code: number, lines }, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies() {
        let line = |text: &str| text.to_owned();
        for (input, expect) in [
            ("250 OK\r\n", Ok(Some((250, vec![line("OK")], 8)))),
            ("250\r\n", Ok(Some((250, vec![line("")], 5)))),
            ("250-one\r\n250 two\r\nrest", Ok(Some((250, vec![line("one"), line("two")], 18)))),
            ("421 bye\n", Ok(Some((421, vec![line("bye")], 8)))),
            ("550 \u{fc}\u{7}\r\n", Ok(Some((550, vec![line("???")], 9)))),
            ("", Ok(None)),
            ("250-one\r\n", Ok(None)),
            ("250 OK", Ok(None)),
            ("250-one\r\n251 two\r\n", Err(NoReply)),
            ("099 x\r\n", Err(NoReply)),
            ("25\r\n", Err(NoReply)),
            ("250xx\r\n", Err(NoReply)),
            ("HTTP/1.1 400\r\n", Err(NoReply)),
        ] {
            let read = read(input.as_bytes()).map(|found| found.map(|(reply, at)| (reply.code, reply.lines, at)));
            assert_eq!(read, expect, "{input:?}");
        }
        let endless = "250-x\r\n".repeat(REPLY_MAX);
        assert_eq!(read(endless.as_bytes()), Err(NoReply));
        assert_eq!(read(&vec![b'2'; REPLY_MAX]), Err(NoReply));
    }

    #[test]
    fn what_a_server_offers() {
        let text = b"250-mail.example\r\n250-STARTTLS\r\n250-AUTH=LOGIN\r\n250 auth LOGIN plain\r\n";
        let (reply, _) = read(text).unwrap().unwrap();
        for (keyword, parameter, expect) in [
            ("starttls", None, true),
            ("AUTH", Some("PLAIN"), true),
            ("AUTH", Some("CRAM-MD5"), false),
            ("mail.example", None, false),
            ("SIZE", None, false),
        ] {
            assert_eq!(reply.offers(keyword, parameter), expect, "{keyword} {parameter:?}");
        }
    }
}
