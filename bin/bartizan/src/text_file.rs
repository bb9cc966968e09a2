//! A text that somebody hands over in a file: a certificate, a key, a list, a page.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::failure::{Cause, Failure};

/// Octets of one: a list of revoked certificates may have 1 MB, and what is longer the API refuses.
pub const BYTES_MAX: u64 = 2 << 20;

/// What is in a file; `-` is standard input.
pub fn read(file: &Path) -> anyhow::Result<String> {
    let bytes = read_bytes(file)?;
    let is_der = bytes.starts_with(&[0x30, 0x82]);
    String::from_utf8(bytes).map_err(|_| match is_der {
        true => {
            let remedy = "PEM is wanted: `openssl x509 -inform DER -in FILE` makes it of a certificate, `openssl req \
                          -inform DER -in FILE` of a request";
            failed(file, "it is DER").remedy(remedy).into()
        }
        false => failed(file, "it is no text in UTF-8").into(),
    })
}

/// The same of what need not be text.
pub fn read_bytes(file: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = match file == Path::new("-") {
        true => all_of(&mut io::stdin().lock(), BYTES_MAX),
        false => File::open(file).and_then(|mut file| all_of(&mut file, BYTES_MAX)),
    };
    bytes.map_err(|error| failed(file, &error.to_string()).into())
}

/// The text of a file that may be as long as this.
pub fn read_at_most(file: &Path, octets: u64) -> io::Result<String> {
    text_of(&mut File::open(file)?, octets)
}

/// What is in a file that is open.
pub fn text_of(file: &mut File, octets: u64) -> io::Result<String> {
    String::from_utf8(all_of(file, octets)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is no text in UTF-8"))
}

/// What is longer is refused; a device without an end too.
fn all_of(from: &mut impl Read, octets: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One more, so that who is over it is seen.
    from.take(octets + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > octets {
        true => Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is longer than {} MB", octets >> 20))),
        false => Ok(bytes),
    }
}

fn failed(file: &Path, why: &str) -> Failure {
    Failure::new(Cause::Usage, format!("cannot read {}: {why}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_told_and_nothing_is_read_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        for (content, expect) in [
            (&b"-----BEGIN"[..], Ok("-----BEGIN")),
            (b"", Ok("")),
            (&[0x30, 0x82, 1, 0xff], Err("it is DER\n  PEM is wanted: `openssl x509 -inform DER")),
            (&[0xff], Err("it is no text in UTF-8")),
        ] {
            std::fs::write(&file, content).unwrap();
            let told = read(&file).map_err(|error| error.to_string());
            match expect {
                Ok(text) => assert_eq!(told.as_deref(), Ok(text)),
                Err(why) => assert!(told.as_ref().is_err_and(|told| told.contains(why)), "{told:?}"),
            }
        }
        let endless = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(endless.contains("it is longer than 2 MB"), "{endless}");
        std::fs::write(&file, "12345678").unwrap();
        for (octets, fits) in [(8, true), (7, false)] {
            assert_eq!(read_at_most(&file, octets).is_ok(), fits, "{octets}");
        }
        assert_eq!(read_at_most(Path::new("/dev/zero"), 9).unwrap_err().kind(), ErrorKind::FileTooLarge);
        let none = read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(none.contains("No such file"), "{none}");
    }
}
