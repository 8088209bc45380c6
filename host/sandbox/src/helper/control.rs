//! The helper's end of the control socket.

use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::BuildError;
use crate::frame::{self, HEADER_BYTES};
use crate::wire::{Notice, Order};

pub(super) struct Control {
    socket: UnixStream,
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Control {
    /// Moves the socket away from standard input, so that no engine inherits it.
    pub(super) fn take_stdin() -> Result<Self, rustix::io::Errno> {
        let moved: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        Ok(Self {
            socket: moved.into(),
        })
    }

    pub(super) fn read_order(&mut self) -> Result<Order, BuildError> {
        let failed = |e: &std::io::Error| BuildError::io("order", "cannot read the order", e);
        let mut header = [0; HEADER_BYTES];
        self.socket
            .read_exact(&mut header)
            .map_err(|e| failed(&e))?;
        let length =
            frame::body_length(header).map_err(|e| BuildError::new("order", e.to_string()))?;
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).map_err(|e| failed(&e))?;
        frame::decode(&body).map_err(|e| BuildError::new("order", e.to_string()))
    }

    /// Sends a notice, with at most two descriptors.
    pub(super) fn send(
        &mut self,
        notice: &Notice,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), BuildError> {
        let bytes = frame::encode(notice).map_err(|e| BuildError::new("notice", e.to_string()))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(BuildError::new(
                "notice",
                "too many descriptors for one notice",
            ));
        }
        // NOSIGNAL: the host may be gone, which the poll loop handles.
        let sent = rustix::net::sendmsg(
            &self.socket,
            &[IoSlice::new(&bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )
        .map_err(|e| BuildError::of("notice", "cannot send a notice", e))?;
        self.socket
            .write_all(bytes.get(sent..).unwrap_or_default())
            .map_err(|e| BuildError::io("notice", "cannot send a notice", &e))
    }
}
