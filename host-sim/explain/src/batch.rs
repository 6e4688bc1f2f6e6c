//! Many requests at once: several askers side by side, the answers in the order of the requests.

use crate::read::{self, encoding};
use crate::{Asker, AskerError, Request, RequestError, shown};
use std::borrow::Cow;

/// Requests that one asker takes at a time: enough to keep it busy, few enough to see answers as they come.
const CHUNK: usize = 4096;

/// Requests of a file, each with its number: of the line, or of the entry in a HAR file; from 1.
pub struct Batch<'t> {
    items: Vec<(usize, Item<'t>)>,
}

enum Item<'t> {
    Line(&'t [u8]),
    Entry(Result<Request, RequestError>),
}

impl Item<'_> {
    fn request(&self, host: Option<&str>) -> Result<Cow<'_, Request>, RequestError> {
        match self {
            Self::Line(line) => read::line(encoding::text(line)?, host).map(Cow::Owned),
            Self::Entry(Ok(request)) => Ok(Cow::Borrowed(request)),
            Self::Entry(Err(error)) => Err(error.clone()),
        }
    }
}

/// Answers to some of the requests, in order.
#[derive(Debug, Default)]
pub struct Answered {
    /// Requests that these answers are for.
    pub count: usize,
    /// The answers as text; in place of one that has no request stands why, as JSON `{"line":…,"error":…}`.
    pub text: String,
    /// What is no request, by number.
    pub faults: Vec<(usize, RequestError)>,
}

/// In what form answers are told, and what is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Form {
    fn fault(self, number: usize, error: &RequestError) -> String {
        match self {
            Self::Text => format!("line {number} is no request: {}\n", shown(&error.0)),
            Self::Json => serde_json::json!({ "line": number, "error": error.to_string() }).to_string(),
        }
    }
}

impl<'t> Batch<'t> {
    /// The requests of a file: a HAR file, or one request a line ([`read::line`]); a curl command may have several.
    ///
    /// # Errors
    ///
    /// A HAR file of another form, JSON that is not one object a line, or UTF-16.
    pub fn read(file: &'t [u8]) -> Result<Self, RequestError> {
        let file = encoding::whole(file)?;
        let archive = file.trim_ascii_start().starts_with(b"{").then(|| encoding::text(file).ok()).flatten();
        let items = match archive.filter(|text| read::is_har(text)) {
            Some(text) => (1..).zip(read::from_har(text)?.into_iter().map(Item::Entry)).collect(),
            None => read::lines(file)?.into_iter().map(|(number, line)| (number, Item::Line(line))).collect(),
        };
        Ok(Self { items })
    }

    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Every request with its number, in order; `host` is for lines that name none.
    pub fn requests(
        &self,
        host: Option<&str>,
    ) -> impl Iterator<Item = (usize, Result<Cow<'_, Request>, RequestError>)> {
        self.items.iter().map(move |(number, item)| (*number, item.request(host)))
    }

    /// Explains all, each by `tell`, in this form; `host` is for lines that name none. `take` gets the answers as they come.
    ///
    /// # Errors
    ///
    /// The filter cannot be asked, or `take` gives up.
    pub fn explain<E: From<AskerError>>(
        &self,
        host: Option<&str>,
        form: Form,
        askers: &mut [Asker],
        tell: impl Fn(&mut Asker, &Request) -> Result<String, AskerError> + Sync,
        mut take: impl FnMut(Answered) -> Result<(), E>,
    ) -> Result<(), E> {
        for window in self.items.chunks(CHUNK.saturating_mul(askers.len()).max(1)) {
            let answered: Vec<_> = std::thread::scope(|scope| {
                let workers = askers.iter_mut().zip(window.chunks(CHUNK));
                let threads: Vec<_> =
                    workers.map(|(asker, chunk)| scope.spawn(|| answers(asker, chunk, host, form, &tell))).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            });
            for answered in answered {
                take(answered?)?;
            }
        }
        Ok(())
    }
}

fn answers(
    asker: &mut Asker,
    chunk: &[(usize, Item<'_>)],
    host: Option<&str>,
    form: Form,
    tell: impl Fn(&mut Asker, &Request) -> Result<String, AskerError>,
) -> Result<Answered, AskerError> {
    let mut answered = Answered { count: chunk.len(), ..Answered::default() };
    for (number, item) in chunk {
        match item.request(host) {
            Ok(request) => answered.text += &tell(asker, &request)?,
            Err(error) => {
                answered.text += &form.fault(*number, &error);
                answered.faults.push((*number, error));
            }
        }
        answered.text.push('\n');
    }
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &[u8], expected: &[(usize, Result<&str, &str>)]) {
        let batch = Batch::read(file).unwrap();
        let found: Vec<_> = batch
            .requests(None)
            .map(|(number, request)| {
                (number, request.map(|request| request.authority.clone()).map_err(|error| error.0))
            })
            .collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((number, found), (line, expected)) in found.iter().zip(expected) {
            assert_eq!(number, line);
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                _ => panic!("{found:?} and not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_file_may_have_a_mark_and_odd_lines() {
        check(
            b"\xef\xbb\xbfcurl http://a\ncurl http://b/caf\xe9\ncurl \\\n http://c\n",
            &[(1, Ok("a")), (2, Err("in Latin-1")), (3, Ok("c"))],
        );
    }

    #[test]
    fn one_odd_entry_of_an_archive_hides_no_other() {
        let archive = br#"{"log": {"entries": [{"request": 7}, {"request": {"method": "G T", "url": "http://a"}},
            {"request": {"method": "GET", "url": "http://b"}}]}}"#;
        check(archive, &[(1, Err("not an entry")), (2, Err("is no method")), (3, Ok("b"))]);
    }

    #[test]
    fn what_is_wrong_as_a_whole_is_one_error() {
        let refused = |file: &[u8]| Batch::read(file).err().map(|error| error.0).unwrap_or_default();
        assert!(refused(b"\xff\xfec\0u\0").contains("UTF-16"));
        assert!(refused(b"{\"log\": {\"entries\": [{}, }").contains("HAR"));
        assert!(refused(b"{\n\"url\": \"http://a\"\n}").contains("one object a line"));
    }

    #[test]
    fn what_is_no_request_is_told_in_the_form_of_the_others() {
        let error = RequestError("odd \u{1b}".to_owned());
        assert_eq!(Form::Text.fault(7, &error), "line 7 is no request: odd \\u{1b}\n");
        assert_eq!(Form::Json.fault(7, &error), "{\"error\":\"odd \\u001b\",\"line\":7}");
    }
}
