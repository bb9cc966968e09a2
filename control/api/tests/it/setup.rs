//! The first run and the later ones.

use std::os::unix::fs::PermissionsExt;

use bartizan_api::{ADMIN_FILE, Administrator, BootstrapError, Preset, bootstrap};
use bartizan_model::Zone;
use bartizan_store::Store;

use crate::edge::certs;

#[test]
fn a_second_run_changes_nothing_and_a_lost_file_makes_new_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(ADMIN_FILE);
    let store = Store::open(directory.path()).unwrap();
    let (certs, _) = certs(directory.path());
    let domain = Zone::parse_name("bartizan.localhost").unwrap();
    let run = |preset: &Preset| bootstrap(&store, &certs, directory.path(), preset, &domain, &[]);
    let head = || store.read().unwrap().head();

    let first = run(&Preset::default()).unwrap();
    assert_eq!(head().0, 1, "one revision");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let saved: Administrator = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(saved == first);
    assert_eq!((first.token.len(), first.key.len(), first.email.as_str()), (40, 37, "admin@bartizan.localhost"));
    let in_store = || {
        let mut all = String::new();
        let everything = bartizan_store::Filter::Everything;
        store.read().unwrap().for_each(&everything, &mut |entry| all += &entry.value.json).unwrap();
        all
    };
    assert!(!in_store().contains(&first.token) && !in_store().contains(&first.key), "only hashes");

    assert!(run(&Preset::default()).unwrap() == first);
    assert_eq!(head().0, 1, "nothing to do");

    const DICTATED: &str = "dictated-and-of-thirty-two-chars";
    for weak in ["x", &DICTATED[1..]] {
        for preset in [
            Preset { token: Some(weak.to_owned()), ..Preset::default() },
            Preset { key: Some(weak.to_owned()), ..Preset::default() },
        ] {
            let error = run(&preset).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("32 are needed") && error.contains("BARTIZAN_API_"), "{error}");
        }
    }
    assert_eq!(head().0, 1, "nothing was changed by what was refused");

    let preset = Preset { token: Some(DICTATED.to_owned()), ..Preset::default() };
    let second = run(&preset).unwrap();
    assert_eq!((second.token.as_str(), &second.key), (DICTATED, &first.key));
    assert_eq!(head().0, 2);
    assert!(run(&Preset::default()).unwrap() == second, "it stays");

    std::fs::remove_file(&path).unwrap();
    let third = run(&Preset::default()).unwrap();
    assert_eq!((third.account_id, third.user_id, &third.zone), (first.account_id, first.user_id, &first.zone));
    assert_ne!(third.token, second.token);

    std::fs::write(&path, "{").unwrap();
    assert!(matches!(run(&Preset::default()), Err(BootstrapError::Damaged { .. })));
}
