//! Frames on the control socket: a length of four bytes, little-endian, then that many bytes of
//! postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Above the largest order: 16,384 staged files of two paths of 1 KiB are not, but 2 MiB of
/// arguments with a few thousand ordinary paths are. Larger orders are refused by name.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;
pub(crate) const HEADER_BYTES: usize = 4;

/// A message that cannot cross the control socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FrameError {
    #[error("message of {found} bytes exceeds {FRAME_BYTES_MAX}")]
    TooLong { found: usize },
    #[error("message is malformed")]
    Malformed(#[source] postcard::Error),
}

pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let frame =
        postcard::to_extend(message, vec![0; HEADER_BYTES]).map_err(FrameError::Malformed)?;
    let body = frame.len().saturating_sub(HEADER_BYTES);
    if body > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { found: body });
    }
    let length = u32::try_from(body).map_err(|_| FrameError::TooLong { found: body })?;
    let mut frame = frame;
    if let Some(header) = frame.get_mut(..HEADER_BYTES) {
        header.copy_from_slice(&length.to_le_bytes());
    }
    Ok(frame)
}

/// Length of the body that a header announces.
pub(crate) fn body_length(header: [u8; HEADER_BYTES]) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { found: length });
    }
    Ok(length)
}

pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    postcard::from_bytes(body).map_err(FrameError::Malformed)
}

/// Takes one whole message off the front of a buffer, if one has arrived.
pub(crate) fn take<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> Result<Option<T>, FrameError> {
    let Some((header, rest)) = buffer.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = body_length(*header)?;
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let message = decode(body)?;
    buffer.drain(..HEADER_BYTES.saturating_add(length));
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn messages_come_out_whole_and_in_order_however_they_arrive() {
        let mut wire = encode(&"first".to_owned()).unwrap();
        wire.extend(encode(&"second".to_owned()).unwrap());
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        for byte in wire {
            buffer.push(byte);
            while let Some(text) = take::<String>(&mut buffer).unwrap() {
                found.push(text);
            }
        }
        assert_eq!(found, ["first", "second"]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn announced_lengths_are_bounded() {
        let mut buffer = u32::MAX.to_le_bytes().to_vec();
        assert!(matches!(
            take::<String>(&mut buffer),
            Err(FrameError::TooLong { .. })
        ));
    }
}
