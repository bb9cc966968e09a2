//! Services behind the edge: real servers, on free ports.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::program::{Program, finish, python_with_sdk};
use crate::wait;

/// A server that runs. Dropped, it is killed.
pub struct Origin {
    pub program: Program,
    pub address: SocketAddr,
    folder: TempDir,
}

impl Origin {
    /// `python3 -m http.server` on 127.0.0.1, serving [`Origin::folder`].
    #[track_caller]
    pub fn files() -> Origin {
        let folder = temporary();
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]).arg(folder.path());
        Origin::python(command, folder, "127.0.0.1")
    }

    /// `origins/echo.py`: says what it was asked; echoes WebSocket messages.
    #[track_caller]
    pub fn echo() -> Origin {
        let mut command = Command::new("python3");
        command.arg("-u").arg(here("origins/echo.py"));
        Origin::python(command, temporary(), "127.0.0.1")
    }

    /// A server of gRPC in the clear: `clients/grpc_echo.py`.
    #[track_caller]
    pub fn grpc() -> Origin {
        Origin::grpc_in(temporary(), &[])
    }

    /// The same over TLS, with a certificate that no client trusts.
    #[track_caller]
    pub fn grpc_tls() -> Origin {
        let folder = temporary();
        certificate(folder.path());
        Origin::grpc_in(folder, &["cert.pem", "key.pem"])
    }

    #[track_caller]
    fn grpc_in(folder: TempDir, files: &[&str]) -> Origin {
        let mut command = Command::new(python_with_sdk());
        command.current_dir(folder.path()).arg("-u").arg(here("clients/grpc_echo.py")).arg("serve").args(files);
        Origin::python(command, folder, "127.0.0.1")
    }

    #[track_caller]
    fn python(mut command: Command, folder: TempDir, ip: &str) -> Origin {
        let mut program = Program::start("python origin", &mut command);
        let port: u16 = program.line("its port", |line| {
            let (_, rest) = line.split_once(" port ")?;
            rest.split(' ').next()?.parse().ok()
        });
        let ip: IpAddr = ip.parse().expect("an address");
        Origin { program, address: SocketAddr::new(ip, port), folder }
    }

    /// nginx on one address, with `server` as the inside of its server block.
    #[track_caller]
    pub fn nginx(ip: &str, server: &str) -> Origin {
        Origin::nginx_on(ip, "", server)
    }

    /// nginx with a certificate that no client trusts.
    #[track_caller]
    pub fn nginx_tls(ip: &str, server: &str) -> Origin {
        let folder = temporary();
        certificate(folder.path());
        Origin::start_nginx(
            ip,
            "ssl",
            &format!("ssl_certificate cert.pem; ssl_certificate_key key.pem; {server}"),
            folder,
        )
    }

    /// The same, that speaks HTTP/2.
    #[track_caller]
    pub fn nginx_tls_http2(ip: &str, server: &str) -> Origin {
        let folder = temporary();
        certificate(folder.path());
        let server = format!("ssl_certificate cert.pem; ssl_certificate_key key.pem; {server}");
        Origin::start_nginx(ip, "ssl http2", &server, folder)
    }

    /// nginx that speaks HTTP/2 over TLS, with certificates that `server` names.
    #[track_caller]
    pub fn nginx_tls_with(ip: &str, server: &str) -> Origin {
        Origin::nginx_on(ip, "ssl http2", server)
    }

    /// nginx that speaks HTTP/2 in the clear, and nothing else.
    #[track_caller]
    pub fn nginx_h2c(ip: &str, server: &str) -> Origin {
        Origin::nginx_on(ip, "http2", server)
    }

    /// `openssl s_server` with this chain and key, as PEM: it says about the connection what it knows.
    #[track_caller]
    pub fn openssl(certificate: &str, key: &str) -> Origin {
        Origin::openssl_with(certificate, key, &[], &[])
    }

    /// The same with more words, which may name these files.
    #[track_caller]
    pub fn openssl_with(certificate: &str, key: &str, files: &[(&str, &str)], words: &[&str]) -> Origin {
        let folder = temporary();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a temporary directory is writable");
        }
        std::fs::write(folder.path().join("cert.pem"), certificate).expect("a temporary directory is writable");
        std::fs::write(folder.path().join("key.pem"), key).expect("a temporary directory is writable");
        let address = free("127.0.0.1".parse().expect("an address"));
        let mut program = Program::start(
            "openssl s_server",
            Command::new("openssl")
                .current_dir(folder.path())
                .args(["s_server", "-www", "-accept", &address.to_string(), "-cert", "cert.pem", "-key", "key.pem"])
                .args(words),
        );
        wait::until("openssl listens", || {
            assert!(program.is_running(), "openssl ended:\n{}", program.output());
            TcpStream::connect(address).ok()
        });
        Origin { program, address, folder }
    }

    #[track_caller]
    fn nginx_on(ip: &str, flags: &str, server: &str) -> Origin {
        Origin::start_nginx(ip, flags, server, temporary())
    }

    #[track_caller]
    fn start_nginx(ip: &str, flags: &str, server: &str, folder: TempDir) -> Origin {
        let ip: IpAddr = ip.parse().expect("an address");
        let address = free(ip);
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr notice;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n\
               access_log off; client_max_body_size 0;\n\
               client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
               uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
               server {{ listen {address} {flags}; {server} }}\n\
             }}\n"
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, configuration).expect("a temporary directory is writable");
        // An ordinary user's path leaves out where Debian keeps servers.
        let nginx =
            ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|p| Path::new(p).is_file()).unwrap_or("nginx");
        let mut program = Program::start(
            "nginx",
            Command::new(nginx).arg("-p").arg(folder.path()).arg("-c").arg(&path).args(["-e", "stderr"]),
        );
        wait::until("nginx listens", || {
            assert!(program.is_running(), "nginx ended:\n{}", program.output());
            TcpStream::connect(address).ok()
        });
        Origin { program, address, folder }
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

pub fn temporary() -> TempDir {
    tempfile::Builder::new().prefix("bartizan-origin-").tempdir().expect("a temporary directory")
}

/// A file of this crate.
pub fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A port that was free a moment ago. Only for servers that cannot take port 0 or cannot tell what they got.
#[track_caller]
pub fn free(ip: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// A self-signed certificate for `localhost` in `cert.pem` and `key.pem`.
#[track_caller]
fn certificate(folder: &Path) {
    finish(
        Command::new("openssl")
            .current_dir(folder)
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"]),
    )
    .ok();
}
