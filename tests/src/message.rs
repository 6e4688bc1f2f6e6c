//! HTTP/1.1 messages read byte by byte, so that a test sees what was on the wire.

use crate::escapes;
use std::io::{Error, ErrorKind, Read, Result};

/// A message: its start line in parts, headers with names in lower case and values as [`escapes`] writes them, and the
/// whole body.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Method and target of a request; status of a response and an empty text.
    pub start: (String, String),
    /// In order.
    pub headers: Vec<(String, String)>,
    /// Without any framing.
    pub body: Vec<u8>,
}

const HEADERS_MAX: usize = 128;

/// Reads messages from one connection.
pub struct Reader<R> {
    from: R,
    /// Read and not yet used.
    rest: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// A reader for a connection.
    pub fn new(from: R) -> Self {
        Self { from, rest: Vec::new() }
    }

    /// Whether bytes are there that no message has used.
    pub fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// The next request; `None` at the end of the connection.
    ///
    /// # Errors
    ///
    /// What is no HTTP, and faults of the connection.
    pub fn request(&mut self) -> Result<Option<Message>> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut head = httparse::Request::new(&mut headers);
            if let httparse::Status::Complete(length) = head.parse(&self.rest).map_err(invalid)? {
                let start = (text(head.method), text(head.path));
                let headers = owned(head.headers);
                self.rest.drain(..length);
                let body = self.body(&headers, false)?;
                return Ok(Some(Message { start, headers, body }));
            }
            if self.more()? == 0 {
                return if self.rest.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The next response, interim ones passed over. `bodiless` when the request was HEAD.
    ///
    /// # Errors
    ///
    /// The end of the connection, what is no HTTP, and faults of the connection.
    pub fn response(&mut self, bodiless: bool) -> Result<Message> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut head = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(length) = head.parse(&self.rest).map_err(invalid)? {
                let status = head.code.unwrap_or_default();
                let headers = owned(head.headers);
                self.rest.drain(..length);
                if status < 200 {
                    continue;
                }
                let bodiless = bodiless || status == 204 || status == 304;
                let body = if bodiless { Vec::new() } else { self.body(&headers, true)? };
                return Ok(Message { start: (status.to_string(), String::new()), headers, body });
            }
            if self.more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// A body by its framing; without any, a response goes on to the end of the connection.
    fn body(&mut self, headers: &[(String, String)], to_end: bool) -> Result<Vec<u8>> {
        let find = |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        if find("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return self.chunks();
        }
        if let Some(length) = find("content-length") {
            return self.take(length.trim().parse().map_err(invalid)?);
        }
        while to_end && self.more()? > 0 {}
        Ok(if to_end { std::mem::take(&mut self.rest) } else { Vec::new() })
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?;
            let size = size.split(';').next().unwrap_or_default().trim().to_owned();
            let size = usize::from_str_radix(&size, 16).map_err(invalid)?;
            if size == 0 {
                // Trailers end with an empty line.
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size)?);
            self.line()?;
        }
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.rest[..end]).into_owned();
                self.rest.drain(..end + 2);
                return Ok(line);
            }
            if self.more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.rest.len() < length {
            if self.more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.rest.drain(..length).collect())
    }

    fn more(&mut self) -> Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let length = self.from.read(&mut buffer)?;
        self.rest.extend_from_slice(&buffer[..length]);
        Ok(length)
    }
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, error.to_string())
}

fn text(part: Option<&str>) -> String {
    part.unwrap_or_default().to_owned()
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let header = |header: &httparse::Header<'_>| (header.name.to_ascii_lowercase(), escapes::text(header.value));
    headers.iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_end_where_their_framing_says() {
        let text = b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 201 x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2;x\r\nbc\r\n0\r\n\r\nHTTP/1.1 204 x\r\n\r\nHTTP/1.1 200 x\r\n\r\nrest";
        let mut reader = Reader::new(&text[..]);
        let mut next = || {
            let message = reader.response(false).unwrap();
            (message.start.0, String::from_utf8(message.body).unwrap())
        };
        let pair = |status: &str, body: &str| (status.to_owned(), body.to_owned());
        assert_eq!(
            [next(), next(), next(), next()],
            [pair("200", "ab"), pair("201", "abc"), pair("204", ""), pair("200", "rest"),]
        );
        assert!(reader.response(false).is_err());
    }

    #[test]
    fn requests_keep_target_and_repeated_headers() {
        let mut reader = Reader::new(&b"GET //x?%31 HTTP/1.1\r\nX: 1\r\nx: 2\r\n\r\n"[..]);
        let message = reader.request().unwrap().unwrap();
        assert_eq!(message.start, ("GET".to_owned(), "//x?%31".to_owned()));
        assert_eq!(message.headers, [("x".to_owned(), "1".to_owned()), ("x".to_owned(), "2".to_owned())]);
        assert!(reader.request().unwrap().is_none());
    }
}
