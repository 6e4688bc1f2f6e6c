//! Body bytes that mostly pass untouched: chunks keep sharing the memory they came in until somebody must join or edit them.

use crate::status::Status;
use bytes::{Bytes, BytesMut};

/// A piece of body that the guest may see or that waits to go on.
#[derive(Debug, Default)]
pub(crate) struct Body(Bytes);

impl Body {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn append(&mut self, chunk: Bytes) {
        if self.0.is_empty() {
            self.0 = chunk;
        } else if !chunk.is_empty() {
            self.edit(|all| all.extend_from_slice(&chunk));
        }
    }

    /// Bytes `start..start+max`, cut off at the end.
    pub(crate) fn range(&self, start: usize, max: usize) -> &[u8] {
        range(&self.0, start, max)
    }

    /// Envoy's rule for `set_buffer`: from 0 with no length prepends, from 0 over the whole length replaces, from the end
    /// or beyond appends; anything in between is refused.
    pub(crate) fn write(&mut self, start: usize, len: usize, data: &[u8]) -> Result<(), Status> {
        if start == 0 && len >= self.len() && (len > 0 || self.is_empty()) {
            self.0 = Bytes::copy_from_slice(data);
        } else if start == 0 && len == 0 {
            let mut all = BytesMut::with_capacity(data.len() + self.len());
            all.extend_from_slice(data);
            all.extend_from_slice(&self.0);
            self.0 = all.freeze();
        } else if start > 0 && start >= self.len() {
            self.edit(|all| all.extend_from_slice(data));
        } else {
            return Err(Status::BadArgument);
        }
        Ok(())
    }

    fn edit(&mut self, change: impl FnOnce(&mut BytesMut)) {
        let mut all = BytesMut::from(std::mem::take(&mut self.0));
        change(&mut all);
        self.0 = all.freeze();
    }
}

/// Bytes `start..start+max` of any slice, cut off at the end.
pub(crate) fn range(bytes: &[u8], start: usize, max: usize) -> &[u8] {
    let end = start.saturating_add(max).min(bytes.len());
    bytes.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(start: usize, len: usize) -> Result<Vec<u8>, Status> {
        let mut body = Body(Bytes::from_static(b"abc"));
        body.write(start, len, b"XY")?;
        Ok(body.take().to_vec())
    }

    #[test]
    fn a_write_replaces_prepends_or_appends_and_nothing_else() {
        assert_eq!(write(0, 3).unwrap(), b"XY");
        assert_eq!(write(0, usize::MAX).unwrap(), b"XY");
        assert_eq!(write(0, 0).unwrap(), b"XYabc");
        assert_eq!(write(3, 0).unwrap(), b"abcXY");
        assert_eq!(write(9, 9).unwrap(), b"abcXY");
        assert_eq!(write(0, 2), Err(Status::BadArgument));
        assert_eq!(write(1, 1), Err(Status::BadArgument));
    }

    #[test]
    fn a_write_into_an_empty_body_fills_it() {
        let mut body = Body::default();
        body.write(0, 0, b"new").unwrap();
        assert_eq!(body.range(1, 99), b"ew");
    }

    #[test]
    fn a_read_beyond_the_end_is_empty() {
        let body = Body(Bytes::from_static(b"abc"));
        assert_eq!(body.range(1, 1), b"b");
        assert_eq!(body.range(3, 1), b"");
        assert_eq!(body.range(usize::MAX, usize::MAX), b"");
    }
}
