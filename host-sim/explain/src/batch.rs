//! Many requests at once: several askers side by side, the answers in the order of the requests.

use crate::read;
use crate::{Asker, AskerError, Request, RequestError};
use std::borrow::Cow;

/// Requests that one asker takes at a time: enough to keep it busy, few enough to see answers as they come.
const CHUNK: usize = 4096;

/// Requests of a file, each with its number: of the line, or of the entry in a HAR file; from 1.
pub struct Batch<'t> {
    items: Vec<(usize, Item<'t>)>,
}

enum Item<'t> {
    Line(&'t str),
    Entry(Result<Request, RequestError>),
}

impl Item<'_> {
    fn request(&self, host: Option<&str>) -> Result<Cow<'_, Request>, RequestError> {
        match self {
            Self::Line(line) => read::line(line, host).map(Cow::Owned),
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
    /// The answers as text; `{"line":…,"error":…}` stands in place of one that has no request.
    pub text: String,
    /// What is no request, by number.
    pub faults: Vec<(usize, RequestError)>,
}

impl<'t> Batch<'t> {
    /// The requests of a text: a HAR file, or one request a line ([`read::line`]).
    ///
    /// # Errors
    ///
    /// A HAR file of another form.
    pub fn read(text: &'t str) -> Result<Self, RequestError> {
        let items = if read::is_har(text) {
            (1..).zip(read::from_har(text)?.into_iter().map(Item::Entry)).collect()
        } else {
            let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
            lines.map(|(number, line)| (number, Item::Line(line))).collect()
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

    /// Explains all, each by `tell`; `host` is for lines that name none. `take` gets the answers as they come.
    ///
    /// # Errors
    ///
    /// The filter cannot be asked, or `take` gives up.
    pub fn explain<E: From<AskerError>>(
        &self,
        host: Option<&str>,
        askers: &mut [Asker],
        tell: impl Fn(&mut Asker, &Request) -> Result<String, AskerError> + Sync,
        mut take: impl FnMut(Answered) -> Result<(), E>,
    ) -> Result<(), E> {
        for window in self.items.chunks(CHUNK.saturating_mul(askers.len()).max(1)) {
            let answered: Vec<_> = std::thread::scope(|scope| {
                let workers = askers.iter_mut().zip(window.chunks(CHUNK));
                let threads: Vec<_> =
                    workers.map(|(asker, chunk)| scope.spawn(|| answers(asker, chunk, host, &tell))).collect();
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
    tell: impl Fn(&mut Asker, &Request) -> Result<String, AskerError>,
) -> Result<Answered, AskerError> {
    let mut answered = Answered { count: chunk.len(), ..Answered::default() };
    for (number, item) in chunk {
        match item.request(host) {
            Ok(request) => answered.text += &tell(asker, &request)?,
            Err(error) => {
                let told = serde_json::json!({ "line": number, "error": error.to_string() });
                answered.text += &told.to_string();
                answered.faults.push((*number, error));
            }
        }
        answered.text.push('\n');
    }
    Ok(answered)
}
