//! Files that a page names: whoever gets an answer with `link: </main.css>; rel=preload` asks for the file at once, as browsers do
//! (RFC 8288).

use std::collections::BTreeMap;

use bytes::Bytes;
use host_abi::HeaderMap;

use crate::engine::RequestSpec;

/// More files than this of one page are not asked for.
const FILES_MAX: usize = 100;

/// What is asked for, and for whose sake.
#[derive(Default)]
pub(super) struct Pages {
    /// The kinds of the pages under way, by request.
    under_way: BTreeMap<u64, usize>,
    /// Files that are to be asked for: the kind of the page, its user, the path.
    due: Vec<(usize, usize, String)>,
}

impl Pages {
    /// A page is asked for.
    pub(super) fn sent(&mut self, request: u64, kind: usize) {
        self.under_way.insert(request, kind);
    }

    /// A request of this user has been answered.
    pub(super) fn given(&mut self, request: u64, user: usize, headers: &HeaderMap) {
        let Some(kind) = self.under_way.remove(&request) else { return };
        let files = headers.get_all("link").flat_map(paths).take(FILES_MAX);
        self.due.extend(files.map(|path| (kind, user, path)));
    }

    /// The files that are to be asked for now, each with its user.
    pub(super) fn due(&mut self) -> Vec<(usize, usize, String)> {
        std::mem::take(&mut self.due)
    }
}

/// The request for a file: the page's, with another path.
pub(super) fn file(page: &RequestSpec, path: &str) -> RequestSpec {
    let mut file = page.clone();
    file.head.set(":method", "GET");
    file.head.set(":path", path);
    file.body = Bytes::new();
    file
}

/// The targets of a `link` header that are paths and to be loaded with the page.
fn paths(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value);
    let links = text.split(',').filter_map(|link| {
        let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_loaded = rest.split(';').any(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            name.trim() == "rel" && ["preload", "stylesheet"].contains(&value.trim().trim_matches('"'))
        });
        (is_loaded && target.starts_with('/')).then(|| target.to_owned())
    });
    links.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_are_loaded_with_the_page_are_paths() {
        assert_eq!(paths(b"</a.css>; rel=preload; as=style, </b.js>;rel=\"preload\""), ["/a.css", "/b.js"]);
        assert_eq!(paths(b"</a.css>; rel=stylesheet"), ["/a.css"]);
        for other in ["</next>; rel=next", "<https://elsewhere/a>; rel=preload", "/a; rel=preload", "<", ""] {
            assert!(paths(other.as_bytes()).is_empty(), "{other}");
        }
    }
}
