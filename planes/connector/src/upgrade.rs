//! What is behind a 101: the frames of a WebSocket both ways, which are not looked at.

use std::time::Duration;

use bartizan_net::{LeastRate, delivered};
use tokio::io::AsyncWriteExt;

use crate::ingress::StreamError;
use crate::link::Answer;
use crate::stream::{Intake, IntakeError, Outlet};

/// Carries both ways until both sides have ended, and the origin has all of it. The head of the answer is written already.
pub(crate) async fn relay(
    answer: Answer,
    send: &mut Outlet,
    receive: Intake,
    deliver_time: Duration,
) -> Result<(), StreamError> {
    let broken = || StreamError::Upgraded(std::io::ErrorKind::UnexpectedEof.into());
    let (first, mut origin) = answer.into_io().await.ok_or_else(broken)?;
    send.write_chunk(first).await?;
    let shed = receive.shed();
    let mut edge = tokio::io::join(receive, send);
    tokio::select! {
        biased;
        copied = tokio::io::copy_bidirectional(&mut edge, &mut origin) => copied.map_err(StreamError::Upgraded)?,
        () = shed => return Err(IntakeError::Shed.into()),
    };
    // A TLS library may hold its last record back.
    let _ = origin.flush().await;
    delivered(origin.socket(), LeastRate::with_stall(deliver_time)).await;
    Ok(())
}
