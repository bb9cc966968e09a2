//! Loads over TCP.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use super::{Done, MESSAGE_BYTES, origin, source};

/// Bytes of a read in a download.
const READ_BYTES: usize = 256 * 1024;

/// One exchange that takes so long has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Idle connections that are opened at the same time.
const OPENERS: usize = 32;

/// Runs tasks on this thread until all have ended.
fn run<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, work)
}

/// All tasks' work; the first failure ends it.
async fn all(mut tasks: JoinSet<io::Result<()>>) -> io::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Downloads on so many connections.
pub(super) fn bulk(at: &[SocketAddr], streams: usize, time: Duration) -> io::Result<Done> {
    run(async {
        let start = Instant::now();
        let done = Rc::new(RefCell::new(Done::default()));
        let mut tasks = JoinSet::new();
        for number in 0..streams {
            let mut stream = source::connect(at, number).await?;
            stream.write_all(&[origin::POUR; MESSAGE_BYTES]).await?;
            let done = Rc::clone(&done);
            tasks.spawn_local(async move {
                let mut buffer = vec![0; READ_BYTES];
                while start.elapsed() < time {
                    let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await??;
                    if read == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    done.borrow_mut().bytes += read as u64;
                }
                done.borrow_mut().count += 1;
                Ok(())
            });
        }
        all(tasks).await?;
        done.borrow_mut().seconds = start.elapsed().as_secs_f64();
        Ok(done.take())
    })
}

/// One short connection after the other, so many at the same time.
pub(super) fn short(at: &[SocketAddr], clients: usize, time: Duration) -> io::Result<Done> {
    run(async {
        let start = Instant::now();
        let done = Rc::new(RefCell::new(Done::default()));
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let (done, at) = (Rc::clone(&done), at.to_vec());
            tasks.spawn_local(async move {
                for number in (client..).step_by(clients) {
                    if start.elapsed() >= time {
                        break;
                    }
                    let answer = tokio::time::timeout(PATIENCE, one_short(&at, number)).await;
                    match answer {
                        Ok(Ok(())) => done.borrow_mut().count += 1,
                        Ok(Err(_)) | Err(_) => done.borrow_mut().failed += 1,
                    }
                }
                Ok(())
            });
        }
        all(tasks).await?;
        done.borrow_mut().seconds = start.elapsed().as_secs_f64();
        Ok(done.take())
    })
}

async fn one_short(at: &[SocketAddr], number: usize) -> io::Result<()> {
    let mut stream = source::connect(at, number).await?;
    stream.write_all(&[origin::ONCE; MESSAGE_BYTES]).await?;
    let mut answer = [0; 2 * MESSAGE_BYTES];
    let mut length = 0;
    loop {
        match stream.read(&mut answer[length..]).await? {
            0 if length == MESSAGE_BYTES => return Ok(()),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
    }
}

/// Small round trips on one open connection. Without a runtime: what is measured is not ours.
pub(super) fn trips(at: SocketAddr, time: Duration) -> io::Result<Done> {
    let mut stream = std::net::TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut message = [origin::ECHO; MESSAGE_BYTES];
    let mut took = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let sent = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        took.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Done::timed(took, start.elapsed().as_secs_f64()))
}

/// Short connections one after the other, each timed from its beginning to the first byte of its answer.
pub(super) fn opens(at: &[SocketAddr], time: Duration) -> io::Result<Done> {
    run(async {
        let mut took = Vec::new();
        let start = Instant::now();
        while start.elapsed() < time {
            took.push(tokio::time::timeout(PATIENCE, one_open(at, took.len())).await??);
        }
        Ok(Done::timed(took, start.elapsed().as_secs_f64()))
    })
}

/// Gives microseconds.
async fn one_open(at: &[SocketAddr], number: usize) -> io::Result<f64> {
    let began = Instant::now();
    let mut stream = source::connect(at, number).await?;
    stream.write_all(&[origin::ONCE; MESSAGE_BYTES]).await?;
    stream.readable().await?;
    let took = began.elapsed();
    // To the end, so that the next one finds nobody busy with this one.
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await? {
        MESSAGE_BYTES => Ok(took.as_secs_f64() * 1e6),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Opens connections on which nothing moves after one round trip, says so, and holds them until standard input ends.
pub(super) fn idle(at: &[SocketAddr], connections: usize) -> io::Result<()> {
    let held = run(async {
        let start = Instant::now();
        let held = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for opener in 0..OPENERS {
            let (held, at) = (Rc::clone(&held), at.to_vec());
            tasks.spawn_local(async move {
                for number in (opener..connections).step_by(OPENERS) {
                    let stream = tokio::time::timeout(PATIENCE, one_idle(&at, number)).await??;
                    held.borrow_mut().push(stream);
                }
                Ok(())
            });
        }
        all(tasks).await?;
        let held: Vec<std::net::TcpStream> =
            held.take().into_iter().map(TcpStream::into_std).collect::<io::Result<_>>()?;
        let done = Done { count: held.len() as u64, seconds: start.elapsed().as_secs_f64(), ..Done::default() };
        println!("{}", done.json());
        Ok(held)
    })?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(held);
    Ok(())
}

async fn one_idle(at: &[SocketAddr], number: usize) -> io::Result<TcpStream> {
    let mut stream = source::connect(at, number).await?;
    let mut message = [origin::ECHO; MESSAGE_BYTES];
    stream.write_all(&message).await?;
    stream.read_exact(&mut message).await?;
    Ok(stream)
}
