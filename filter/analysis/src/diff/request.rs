//! A request that is asked about, and how plain it is.

use serde_json::{Map, Value, json};
use traffic_policy::{HeaderPair, RequestHead};

/// A request head with texts of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Names in lower case and values, pseudo-headers among them, as a filter is given them.
    pub pairs: Vec<(String, String)>,
}

impl Sample {
    /// Hands it over as the engine takes it.
    pub(crate) fn with_head<R>(&self, then: impl FnOnce(&RequestHead<'_>) -> R) -> R {
        let pairs: Vec<HeaderPair<'_>> =
            self.pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        then(&RequestHead::new(&pairs))
    }

    /// The first value of a header, empty without one.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.pairs.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// Headers that a client writes itself.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let implied = |name: &str, value: &str| name == "x-forwarded-proto" && value == self.value(":scheme");
        let pairs = self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        pairs.filter(move |(name, value)| !name.starts_with(':') && !implied(name, value))
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}{}", self.value(":scheme"), self.value(":authority"), self.value(":path"))
    }

    /// The smaller, the plainer: few headers, GET, a short target.
    pub(crate) fn effort(&self) -> (usize, bool, usize, usize) {
        let query = self.value(":path").matches(['?', '&']).count();
        let told = self.headers().count().saturating_add(query);
        (told, self.value(":method") != "GET", self.url().len(), self.headers().map(|(_, value)| value.len()).sum())
    }

    /// `GET http://reviews/ratings -H 'end-user: jason'`, as the command takes it.
    pub(crate) fn to_text(&self) -> String {
        let headers = self.headers().map(|(name, value)| format!(" -H '{name}: {value}'"));
        format!("{} {}{}", self.value(":method"), self.url(), headers.collect::<String>())
    }

    /// In the form of a line of `shunt explain --requests`.
    pub(crate) fn to_json(&self) -> Value {
        let mut headers: Map<String, Value> = Map::new();
        for (name, value) in self.headers() {
            match headers.get_mut(name) {
                None => _ = headers.insert(name.to_owned(), json!(value)),
                Some(Value::Array(values)) => values.push(json!(value)),
                Some(known) => *known = json!([known, value]),
            }
        }
        json!({"method": self.value(":method"), "url": self.url(), "headers": headers})
    }
}
