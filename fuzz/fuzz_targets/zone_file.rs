//! Any octets as a master file: whatever its pieces are, it says the same, and what was read is written as a file that says it
//! again.

#![no_main]

use bartizan_names::Name;
use bartizan_wire::zone_file::{Attributes, Entry, Reader, SyntaxError, write_entry};
use libfuzzer_sys::fuzz_target;

fn read(file: &[u8], piece: usize) -> Vec<Result<Entry, SyntaxError>> {
    let mut reader = Reader::new(Name::root());
    let mut all = Vec::new();
    file.chunks(piece).for_each(|piece| reader.take(piece, &mut |one| all.push(one)));
    reader.end(&mut |one| all.push(one));
    all
}

fuzz_target!(|input: &[u8]| {
    let whole = read(input, usize::MAX);
    assert_eq!(whole, read(input, 7));
    for entry in whole.into_iter().flatten() {
        let comment = Attributes::read(entry.comment.as_deref().unwrap_or_default());
        let written = comment.write();
        assert_eq!(Attributes::read(&written), comment);
        let mut line = String::new();
        write_entry(&mut line, &entry.owner, entry.ttl.unwrap_or(0), &entry.kind, &entry.data, &written);
        let again = read(line.as_bytes(), usize::MAX);
        let [Ok(again)] = again.as_slice() else { panic!("{line}: {again:?}") };
        assert_eq!((&again.owner, &again.kind, &again.data), (&entry.owner, &entry.kind, &entry.data));
    }
});
