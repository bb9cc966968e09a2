//! What a file would come to in a zone that is not here yet: told without the store, by the rules that hold with it.

use std::io::Read;
use std::path::Path;

use bartizan_clock::Clock;
use bartizan_model::Zone;
use bartizan_names::{AccountId, Phishing, Timestamp, ZoneId};
use bartizan_v4::dns_import::ImportEnvelope;
use bytes::Bytes;
use tokio::sync::mpsc::{self, Sender};

use super::file::ZoneFile;
use super::form::Piece;
use super::landing::{Ids, Mode, Outcome, PIECE_MAX, fitting};
use super::told::Told;
use super::{Begun, PIECES_MAX, envelope};
use crate::error::Error;
use crate::spools::Spools;

/// Bytes that are read of a file at once.
const READ_SIZE: usize = 64 << 10;

/// The answer that a dry run would have, were there an empty zone of this name. Blocks; `folder` is where there is room for
/// what the file says.
pub fn foretold(name: &str, file: impl Read + Send, folder: &Path) -> Result<ImportEnvelope, Error> {
    let begun = Begun::by(&Clock::default());
    let zone = Zone {
        id: ZoneId::from_bytes([0; 16]),
        account: AccountId::from_bytes([0; 16]),
        name: Zone::parse_name(name)?,
        nameservers: Vec::new(),
        paused: false,
        phishing: Phishing::No,
    };
    let mut told = Told::default();
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let file = std::thread::scope(|scope| {
        scope.spawn(move || feed(file, &sender));
        ZoneFile::read(pieces, &zone, &Spools::without_reserve(folder), &mut told)
    })?;
    let mut outcome = Outcome::default();
    if let Some((line, fault)) = file.crowded() {
        told.fault(line, fault);
    } else if !told.is_faulty() {
        let ids = Ids::new();
        for piece in file.pieces(PIECE_MAX) {
            let at = Timestamp::from_unix_micros(0);
            outcome.note(&fitting(None, &zone, file.bodies(piece), &ids, at, &mut told)?.new);
        }
    }
    Ok(envelope(&told, file.parsed, outcome, Mode::Preview, begun))
}

/// A file that cannot be read to its end is no file: its end is not sent.
fn feed(mut file: impl Read, to: &Sender<Piece>) {
    let mut piece = vec![0; READ_SIZE];
    while let Ok(length) = file.read(&mut piece) {
        let next = match length {
            0 => Piece::End { proxied: false },
            length => Piece::Of(Bytes::copy_from_slice(&piece[..length])),
        };
        if to.blocking_send(next).is_err() || length == 0 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_of(file: &str) -> ImportEnvelope {
        foretold("moved.test", file.as_bytes(), &std::env::temp_dir()).unwrap()
    }

    /// The rules of a zone that is there hold for one that is not.
    #[test]
    fn a_file_is_refused_before_there_is_a_zone() {
        let good = told_of("@ SOA a. b. 1 2 3 4 5\nwww A 192.0.2.1\nwww A 192.0.2.1\n");
        let result = good.result.unwrap();
        assert_eq!((result.recs_added, result.total_records_parsed), (1, 3));
        let changes = result.bartizan.unwrap().changes;
        assert!(
            matches!(&changes[..], [one] if one.starts_with("+ www.moved.test.\t1\tIN\tA\t192.0.2.1")),
            "{changes:?}"
        );
        let notes: Vec<String> = good.messages.into_iter().map(|message| message.message).collect();
        assert!(
            notes[0].starts_with("line 1: left out: the SOA") && notes[1].starts_with("line 3: left out"),
            "{notes:?}"
        );
        for (file, expect) in [
            ("www A 192.0.2.1\nwww CNAME x.test.\n", "line 2: "),
            ("x TYPE65535 \\# 4 0A000001\n", "line 1: "),
            ("x.other.test. A 192.0.2.1\n", "lies outside the zone moved.test"),
            ("d DS 1 13 2 00\n", "line 1: "),
        ] {
            let refused = told_of(file);
            assert!(!refused.success && refused.result.is_none(), "{file}");
            let error = &refused.errors[0].message;
            assert!(error.contains(expect), "{file}: {error}");
        }
    }
}
