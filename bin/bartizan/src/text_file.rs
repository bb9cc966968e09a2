//! A text that somebody hands over in a file: a certificate, a key, a list, a page.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::failure::{Cause, Failure};

/// Octets of one: a list of revoked certificates may have 1 MB, and what is longer the API refuses.
const BYTES_MAX: u64 = 2 << 20;

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
    let mut bytes = Vec::new();
    // One more, so that who is over it is seen, and a device without an end has one.
    let read = match file == Path::new("-") {
        true => io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes),
        false => File::open(file).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes)),
    };
    read.map_err(|error| failed(file, &error.to_string()))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(failed(file, &format!("it is longer than {} MB", BYTES_MAX >> 20)).into());
    }
    Ok(bytes)
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
        let none = read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(none.contains("No such file"), "{none}");
    }
}
