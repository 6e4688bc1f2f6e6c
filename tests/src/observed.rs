//! What an arm tells of a request: the response at one end, what arrived at the other.

use std::time::Duration;

/// A response as the client got it.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case and values as [`crate::escapes`] writes them, in order.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// From the request to here.
    pub took: Duration,
}

/// A request as an endpoint got it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Which endpoint.
    pub endpoint: &'static str,
    /// The method.
    pub method: String,
    /// The request target: path and query.
    pub target: String,
    /// Host.
    pub authority: String,
    /// Names in lower case and values as [`crate::escapes`] writes them, in order, without `host`.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Every endpoint writes its name into this response header.
pub const FROM: &str = "x-from";

impl Reply {
    /// The endpoint that answered; `None` when the host did.
    pub fn from(&self) -> Option<&str> {
        values(&self.headers, FROM).next()
    }
}

/// The values of one header, in order.
pub fn values<'a>(headers: &'a [(String, String)], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
}
