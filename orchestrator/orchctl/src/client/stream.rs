//! Answers that go on coming: JSON documents one after another, and multiplexed logs.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::Error;

/// The longest log frame or JSON line taken; more means that the stream is not what we think.
const MAX_CHUNK: usize = 16 << 20;

/// Calls `each` with every line of a newline-separated JSON stream until it ends.
pub async fn json_lines<E>(
    mut body: Incoming,
    mut each: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E>
where
    E: From<Error>,
{
    let mut buffer = BytesMut::new();
    while let Some(data) = next_data(&mut body).await? {
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            emit(&line, &mut each)?;
        }
        if buffer.len() > MAX_CHUNK {
            return Err(Error::LogFraming("a line is longer than 16 MiB".to_owned()).into());
        }
    }
    emit(&buffer, &mut each)
}

fn emit<E>(line: &[u8], each: &mut impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    let text = String::from_utf8_lossy(line);
    match text.trim() {
        "" => Ok(()),
        text => each(text),
    }
}

async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, Error> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Error::Http)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Which of our outputs a log frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// The container's stdout.
    Stdout,
    /// The container's stderr.
    Stderr,
}

/// A piece of a container's output.
#[derive(Debug, PartialEq, Eq)]
pub struct LogFrame {
    /// Where it goes.
    pub target: LogTarget,
    /// What it says; usually one line with its newline.
    pub payload: Bytes,
}

/// Docker's log stream: framed unless the service has a TTY.
#[derive(Debug)]
pub struct LogStream {
    body: Incoming,
    framed: bool,
    buffer: BytesMut,
}

impl LogStream {
    /// Reads `body`; `tty` says that it is a raw stream.
    pub fn new(body: Incoming, tty: bool) -> Self {
        Self {
            body,
            framed: !tty,
            buffer: BytesMut::new(),
        }
    }

    /// The next frame, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<LogFrame>, Error> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            match next_data(&mut self.body).await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Error::LogFraming("it ended inside a frame".to_owned())),
            }
        }
    }

    fn take_frame(&mut self) -> Result<Option<LogFrame>, Error> {
        if self.framed {
            return take_framed(&mut self.buffer);
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let payload = self.buffer.split().freeze();
        Ok(Some(LogFrame {
            target: LogTarget::Stdout,
            payload,
        }))
    }
}

/// Takes one frame: stream number, three zero bytes, length (big endian), payload.
fn take_framed(buffer: &mut BytesMut) -> Result<Option<LogFrame>, Error> {
    let Some((header, rest)) = buffer.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let target = match header[0] {
        0 | 1 => LogTarget::Stdout,
        // 3 carries errors of the log reader itself.
        2 | 3 => LogTarget::Stderr,
        other => return Err(Error::LogFraming(format!("unknown stream {other}"))),
    };
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
    if length > MAX_CHUNK {
        return Err(Error::LogFraming(format!("a frame of {length} bytes")));
    }
    if rest.len() < length {
        return Ok(None);
    }
    buffer.advance(8);
    Ok(Some(LogFrame {
        target,
        payload: buffer.split_to(length).freeze(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole() {
        let mut buffer = BytesMut::from(&b"\x01\0\0\0\0\0\0\x03hi\n\x02\0\0\0\0\0\0\x02o"[..]);
        let frame = take_framed(&mut buffer).unwrap().unwrap();
        assert_eq!(
            (frame.target, &frame.payload[..]),
            (LogTarget::Stdout, &b"hi\n"[..])
        );
        assert_eq!(take_framed(&mut buffer).unwrap(), None);
        buffer.extend_from_slice(b"h");
        let frame = take_framed(&mut buffer).unwrap().unwrap();
        assert_eq!(
            (frame.target, &frame.payload[..]),
            (LogTarget::Stderr, &b"oh"[..])
        );
    }

    #[test]
    fn a_stream_that_is_not_framed_is_an_error() {
        assert!(take_framed(&mut BytesMut::from(&b"hello world"[..])).is_err());
    }
}
