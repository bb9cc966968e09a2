//! What a signature of the crypto library costs alone: what no server that signs can go below.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bartizan_bench::{Flags, cpu_nanos};
use bartizan_signer::{Algorithm, KeyPair, Role, generate};

/// About what is signed for a denial.
const MESSAGE_BYTES: usize = 160;

/// Signatures between two looks at the clock.
const AT_ONCE: u32 = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&["algorithm", "seconds"])?;
    let algorithm = Algorithm::of_number(flags.need("algorithm")?).ok_or("no such algorithm")?;
    let pair = KeyPair::from_pkcs8(algorithm, &generate(Role::Csk, algorithm)?.pkcs8)?;
    let (start, duration) = (Instant::now(), Duration::from_secs_f64(flags.need("seconds")?));
    let (mut message, mut made, before) = ([7; MESSAGE_BYTES], 0_u32, cpu_nanos());
    while start.elapsed() < duration {
        for _ in 0..AT_ONCE {
            made += 1;
            message[..4].copy_from_slice(&made.to_be_bytes());
            black_box(pair.sign(&message)?);
        }
    }
    let micros = (cpu_nanos() - before) as f64 / 1e3 / f64::from(made);
    println!(r#"{{"micros":{micros:.3},"made":{made}}}"#);
    Ok(())
}
