//! Drivers of connections on a runtime of several threads.

use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

use crate::inbox::Driver;

/// Tokio's, which counts what drivers read.
#[derive(Debug)]
pub struct Drivers;

impl Runtime for Drivers {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, mut work: Pin<Box<dyn Future<Output = ()> + Send>>) {
        match Driver::take() {
            Some(driver) => drop(tokio::spawn(async move { driver.run(work.as_mut()).await })),
            None => drop(tokio::spawn(work)),
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}
