use bartizan_plane_bpf::{AnyIp, Missing, support};

use crate::lab::{checked, claim, dial, in_namespace, prefixes, workers};

const CAP_NET_ADMIN: u32 = 12;
const CAP_BPF: u32 = 39;

#[test]
fn what_is_missing_is_named() {
    const LACKS: &str = "steering of all ports to one socket needs CAP_BPF and CAP_NET_ADMIN; this process lacks ";
    for (kept, lacking) in [
        (&[][..], Some("CAP_BPF and CAP_NET_ADMIN")),
        (&[CAP_NET_ADMIN], Some("CAP_BPF")),
        (&[CAP_BPF], Some("CAP_NET_ADMIN")),
        (&[CAP_BPF, CAP_NET_ADMIN], None),
    ] {
        in_namespace(|lab| {
            let workers = workers();
            keep_only(kept);
            let attached = lab.attach(&workers, &[], &[], &[claim("127.77.0.1/32 tcp 22")]);
            match lacking {
                Some(lacking) => {
                    assert_eq!(attached.err().unwrap().to_string(), format!("{LACKS}{lacking}"));
                    assert_eq!(support().to_string(), format!("{LACKS}{lacking}"));
                    assert!(matches!(support().0, Err(Missing::Capabilities(_))));
                }
                None => {
                    let _steering = attached.unwrap();
                    assert_eq!(dial("tcp 127.77.0.1:22"), "worker 127.77.0.1:22");
                    assert!(support().0.is_ok());
                }
            }
            let route = AnyIp::add(&prefixes(&["10.77.0.0/16"])).map(drop).map_err(|error| error.to_string());
            let refused =
                "a local route for 10.77.0.0/16 needs CAP_NET_ADMIN; by hand: ip route add local 10.77.0.0/16 dev lo";
            let expect = if kept.contains(&CAP_NET_ADMIN) { Ok(()) } else { Err(refused.to_owned()) };
            assert_eq!(route, expect, "{kept:?}");
            // The default pool of a laptop needs none.
            AnyIp::add(&prefixes(&["127.77.0.0/16"])).unwrap().remove().unwrap();
        });
    }
}

/// Gives up all other rights, on this thread only (`capset(2)`, version 3).
fn keep_only(capabilities: &[u32]) {
    let bits = capabilities.iter().fold(0_u64, |bits, number| bits | 1 << number);
    let (low, high) = (bits as u32, (bits >> 32) as u32);
    let header: [u32; 2] = [0x2008_0522, 0];
    // Effective, permitted, inheritable; first for the rights below 32, then for those above.
    let data: [u32; 6] = [low, low, 0, high, high, 0];
    // SAFETY: the header names version 3 and this thread, for which the data has the size that the kernel reads.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    checked(result as libc::c_int).unwrap();
}
