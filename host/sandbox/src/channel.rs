//! The host's end of the control socket.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

use crate::frame;
use crate::wire::{Notice, Order};

/// Notices are a few hundred bytes.
const READ_BYTES: usize = 4096;
/// One notice brings two at most, and no more than two such notices can be under way.
const DESCRIPTORS_MAX: usize = 4;

/// Dropping it makes the supervisor kill everything.
pub(crate) struct Channel {
    socket: UnixStream,
    /// Bytes of notices not complete yet; bounded by [`frame::FRAME_BYTES_MAX`].
    received: Vec<u8>,
    /// Descriptors whose notice has not been taken yet, in order.
    descriptors: VecDeque<OwnedFd>,
}

impl Channel {
    /// The channel, and the end that becomes the helper's standard input.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        Ok((
            Self {
                socket,
                received: Vec::new(),
                descriptors: VecDeque::new(),
            },
            theirs.into(),
        ))
    }

    pub(crate) async fn send_order(&mut self, order: &Order) -> io::Result<()> {
        let bytes = frame::encode(order).map_err(io::Error::other)?;
        self.socket.write_all(&bytes).await
    }

    /// Asks the supervisor to kill everything and report. One byte always fits the socket.
    pub(crate) fn stop(&self) {
        // A supervisor that is gone has stopped.
        let _ = self.socket.try_write(b"k");
    }

    /// The next notice, or none when the supervisor is gone. Can be dropped at any await.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Notice>> {
        loop {
            if let Some(notice) = frame::take(&mut self.received).map_err(io::Error::other)? {
                return Ok(Some(notice));
            }
            let mut buffer = [0; READ_BYTES];
            let mut found = Vec::new();
            let read = self
                .socket
                .async_io(Interest::READABLE, || {
                    receive(&self.socket, &mut buffer, &mut found)
                })
                .await;
            let read = match read {
                Ok(read) => read,
                // How a peer that died with unread bytes shows.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => 0,
                Err(e) => return Err(e),
            };
            if read == 0 {
                return Ok(None);
            }
            self.received
                .extend_from_slice(buffer.get(..read).unwrap_or_default());
            self.descriptors.extend(found);
        }
    }

    /// Takes the descriptor that came longest ago.
    pub(crate) fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }
}

fn receive(socket: &UnixStream, buffer: &mut [u8], found: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket.as_fd(),
        &mut [IoSliceMut::new(buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            found.extend(descriptors);
        }
    }
    Ok(received.bytes)
}
