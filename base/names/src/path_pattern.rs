//! Path patterns of a tunnel's rules: regular expressions as stock connectors read them (RE2 in Go's form), written in the form
//! of the `regex` crate, so that a pattern means the same to every connector.

/// The pattern in the other form. What it says may still be no regular expression.
///
/// What is different: `\Q…\E` is literal text; a `{` that begins no repetition stands for itself; in a class a `[` does, and
/// there are no operations on classes; `\<` and `\>` are the signs alone; and there are fewer flags.
pub fn rust_pattern(pattern: &str) -> Result<String, PathPatternError> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(char) = rest.chars().next() {
        let after = &rest[char.len_utf8()..];
        rest = match char {
            '\\' => escaped(after, &mut out),
            '[' => class(after, &mut out),
            '{' => match repetition(after) {
                Some(length) => {
                    out.push('{');
                    out.push_str(&after[..length]);
                    &after[length..]
                }
                None => {
                    out.push_str("\\{");
                    after
                }
            },
            '(' if after.starts_with('?') => {
                check_flags(&after[1..])?;
                out.push('(');
                after
            }
            char => {
                out.push(char);
                after
            }
        };
    }
    Ok(out)
}

/// A group that no stock connector understands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("(?{0} is not known: there are the flags i, m, s and U, and names as (?P<name>")]
pub struct PathPatternError(String);

/// What follows a `\`. Gives what is left.
fn escaped<'p>(after: &'p str, out: &mut String) -> &'p str {
    match after.chars().next() {
        Some('Q') => {
            let (text, rest) = after[1..].split_once("\\E").unwrap_or((&after[1..], ""));
            text.chars().for_each(|char| literal(char, out));
            rest
        }
        Some(char @ ('<' | '>')) => {
            out.push(char);
            &after[1..]
        }
        Some(char) => {
            out.push('\\');
            out.push(char);
            let after = &after[char.len_utf8()..];
            // `\x{…}` and `\p{…}`; nothing else has braces there.
            match after
                .strip_prefix('{')
                .filter(|_| matches!(char, 'x' | 'p' | 'P'))
                .and_then(|inside| inside.find('}'))
            {
                Some(end) => {
                    out.push_str(&after[..end + 2]);
                    &after[end + 2..]
                }
                None => after,
            }
        }
        None => {
            out.push('\\');
            ""
        }
    }
}

fn literal(char: char, out: &mut String) {
    if char.is_ascii_punctuation() {
        out.push('\\');
    }
    // `<` and `>` mean something behind a `\`.
    if matches!(char, '<' | '>') {
        out.pop();
    }
    out.push(char);
}

/// What follows the `[` of a class.
fn class<'p>(after: &'p str, out: &mut String) -> &'p str {
    out.push('[');
    let mut rest = after;
    if let Some(inside) = rest.strip_prefix('^') {
        out.push('^');
        rest = inside;
    }
    if let Some(inside) = rest.strip_prefix(']') {
        out.push_str("\\]");
        rest = inside;
    }
    let mut before = None;
    while let Some(char) = rest.chars().next() {
        let after = &rest[char.len_utf8()..];
        rest = match char {
            ']' => {
                out.push(']');
                return after;
            }
            '\\' => escaped_in_class(after, out),
            '[' => match after.strip_prefix(':').and_then(|inside| inside.find(":]")) {
                Some(end) => {
                    out.push('[');
                    out.push_str(&after[..end + 3]);
                    &after[end + 3..]
                }
                None => {
                    out.push_str("\\[");
                    after
                }
            },
            char => {
                // Twice they would be an operation.
                if before == Some(char) && matches!(char, '&' | '-' | '~') {
                    out.push('\\');
                }
                out.push(char);
                after
            }
        };
        before = Some(char);
    }
    rest
}

fn escaped_in_class<'p>(after: &'p str, out: &mut String) -> &'p str {
    match after.strip_prefix('Q') {
        // There is no literal text in a class, and what is none is found when the pattern is read.
        Some(rest) => {
            out.push_str("\\Q");
            rest
        }
        None => escaped(after, out),
    }
}

/// How long what follows a `{` is, if it makes it a repetition.
fn repetition(after: &str) -> Option<usize> {
    let end = after.find('}')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (least, most) = after[..end].split_once(',').unwrap_or((&after[..end], ""));
    (!least.is_empty() && digits(least) && digits(most)).then_some(end + 1)
}

/// What follows `(?`.
fn check_flags(after: &str) -> Result<(), PathPatternError> {
    let is_named =
        ["P<", "<"].iter().any(|name| after.starts_with(name)) && !after.starts_with("<=") && !after.starts_with("<!");
    let end = after.find([')', ':']);
    let is_flags = end.is_some_and(|end| after[..end].chars().all(|flag| matches!(flag, 'i' | 'm' | 's' | 'U' | '-')));
    if is_named || is_flags { Ok(()) } else { Err(PathPatternError(after.chars().take(8).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_in_the_other_form() {
        for (go, rust) in [
            ("", Some("")),
            (r"^/api/.*\.json$", Some(r"^/api/.*\.json$")),
            (r"\Qa.b*c\E.d", Some(r"a\.b\*c.d")),
            (r"\Q/x/[1]", Some(r"\/x\/\[1\]")),
            (r"\Q<b>\E", Some("<b>")),
            ("a{2}b{3,}c{4,5}", Some("a{2}b{3,}c{4,5}")),
            ("a{,2}{b{", Some(r"a\{,2}\{b\{")),
            (r"\x{41}\p{Greek}\b{start}", Some(r"\x{41}\p{Greek}\b\{start}")),
            (r"\<a\>", Some("<a>")),
            ("[]a]", Some(r"[\]a]")),
            ("[^]a[b]", Some(r"[^\]a\[b]")),
            ("[[:alpha:]&&~~--]", Some(r"[[:alpha:]&\&~\~-\-]")),
            (r"[\]\d]", Some(r"[\]\d]")),
            ("(?i)a(?:b)(?P<n>c)(?s-m:d)(?<n>e)", Some("(?i)a(?:b)(?P<n>c)(?s-m:d)(?<n>e)")),
            ("(?x)a", None),
            ("(?=a)", None),
            ("(?<=a)", None),
            ("é\\", Some("é\\")),
        ] {
            assert_eq!(rust_pattern(go).ok().as_deref(), rust, "{go}");
        }
    }
}
