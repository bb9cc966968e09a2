//! `cargo xtask ebpf`: the kernel programs, from C to the object that is committed and built into the binary.
//!
//! Objects are committed so that nobody needs clang to build Bartizan. `check`, a step of `test`, builds them again and
//! compares: equal sources give equal bytes with the compiler of one Debian release, which is the one in CI. Another
//! compiler can only say that it takes the sources.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::debian::{self, Missing};
use crate::process;

/// Sources without `.c`; each becomes one object.
const PROGRAMS: &[&str] = &["sk_lookup"];

/// The compiler that made what is committed. Another one makes other bytes, which need not be worse.
const CLANG_MAJOR: &str = "14";

pub(crate) fn build() -> Result<()> {
    let clang = need_tools(Missing::Report)?;
    for program in PROGRAMS {
        compile(program, &committed(program))?;
    }
    if clang != CLANG_MAJOR {
        eprintln!("these were built by clang {clang}; CI compares with clang {CLANG_MAJOR} (Debian 12)");
    }
    Ok(())
}

pub(crate) fn check() -> Result<()> {
    check_with(Missing::Report)
}

pub(crate) fn check_with(missing: Missing) -> Result<()> {
    let clang = need_tools(missing)?;
    let folder = process::target().join("ebpf");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for program in PROGRAMS {
        let rebuilt = folder.join(program).with_extension("o");
        compile(program, &rebuilt)?;
        if clang != CLANG_MAJOR {
            eprintln!("ebpf/{program}.c compiles; not compared, as its object is of clang {CLANG_MAJOR}, not {clang}");
            continue;
        }
        if read(&rebuilt)? != read(&committed(program))? {
            bail!("ebpf/{program}.o is not what ebpf/{program}.c makes: cargo xtask ebpf build");
        }
        eprintln!("ebpf/{program}.o is what ebpf/{program}.c makes");
    }
    Ok(())
}

fn committed(program: &str) -> PathBuf {
    process::root().join("ebpf").join(program).with_extension("o")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The major version of the clang that is there.
fn need_tools(missing: Missing) -> Result<String> {
    debian::need(debian::EBPF, missing)?;
    let version = process::read(process::command("clang").arg("--version"))?;
    major(&version).map(str::to_owned).with_context(|| format!("cannot read the version of clang: {version}"))
}

/// `Debian clang version 14.0.6`
fn major(version: &str) -> Option<&str> {
    let (_, number) = version.lines().next()?.split_once("version ")?;
    number.split('.').next()
}

fn compile(program: &str, object: &Path) -> Result<()> {
    // The names of files are part of the object: relative to the root, which is where commands run.
    let here = format!("-ffile-prefix-map={}=.", process::root().display());
    let headers = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    process::run(
        process::command("clang")
            .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror"])
            .args([&here, "-isystem", &headers, "-c", &format!("ebpf/{program}.c"), "-o"])
            .arg(object),
    )?;
    // Of what `-g` makes, the kernel needs the types (BTF); the rest is not used.
    process::run(process::command("llvm-strip").arg("--strip-debug").arg(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, expect) in [
            ("Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu", Some("14")),
            ("Ubuntu clang version 18.1.3 (1ubuntu1)", Some("18")),
            ("clang version 19.1.0", Some("19")),
            ("", None),
        ] {
            assert_eq!(major(text), expect, "{text}");
        }
    }
}
