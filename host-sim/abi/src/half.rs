//! One direction of one stream: what has come in, what the guest holds back, what may go on. A small state machine without
//! any guest in it; `driver` calls the guest and feeds the answers in here.
//!
//! A message is head, any number of body chunks, perhaps trailers. `Pause` at the head stops everything (body waits and the
//! guest is not asked) unless the plugin asked for body callbacks while its head is held. `Pause` at the body collects it:
//! the guest then sees all of it in each callback. `Continue` at any later point lets go of all that was held before.

use crate::body::Body;
use crate::headers::HeaderMap;
use bytes::Bytes;

/// Where the guest has stopped this direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing is held.
    #[default]
    No,
    /// Everything from the head on.
    Head,
    /// The head alone; body callbacks go on.
    HeadOnly,
    /// The body, and the head if it was held before.
    Body,
    /// Trailers, and what was held before.
    Trailers,
}

/// What the guest is to be asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The head; whether nothing follows it.
    Head { end: bool },
    /// The body in `held`, so many bytes; whether it ends here and no trailers follow.
    Body { size: usize, end: bool },
    /// The trailers.
    Trailers,
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(crate) struct Half {
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
    /// Body the guest may read and write now.
    pub(crate) held: Body,
    /// Body that came in and has not been shown.
    waiting: Body,
    /// Body that may go on.
    released: Body,
    /// All body bytes that came in so far.
    pub(crate) size: u64,
    pub(crate) stop: Stop,
    /// The guest may use the header map now.
    pub(crate) headers_open: bool,
    /// The guest may use `held` now.
    pub(crate) body_open: bool,
    /// The guest may use the trailer map now.
    pub(crate) trailers_open: bool,
    /// The guest has been told that the message ends.
    pub(crate) end_told: bool,
    pub(crate) head: Progress,
    pub(crate) tail: Progress,
    body_due: bool,
    ended: bool,
    end_taken: bool,
}

/// How far a head or trailers have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// Not there.
    #[default]
    Absent,
    /// There; the guest has not been asked.
    Arrived,
    /// The guest has been asked and may hold it.
    Asked,
    /// May go on.
    Released,
    /// Given to the world.
    Taken,
}

impl Half {
    pub(crate) fn head_in(&mut self, headers: HeaderMap, end: bool) {
        self.headers = headers;
        self.head = Progress::Arrived;
        self.ended |= end;
    }

    pub(crate) fn body_in(&mut self, chunk: Bytes, end: bool) {
        self.size += chunk.len() as u64;
        self.waiting.append(chunk);
        self.body_due = true;
        self.ended |= end;
    }

    pub(crate) fn trailers_in(&mut self, trailers: HeaderMap) {
        self.trailers = trailers;
        self.tail = Progress::Arrived;
        self.ended = true;
    }

    /// Prepares the next callback, or `None` when nothing is due or the guest has stopped this direction.
    pub(crate) fn next(&mut self) -> Option<Ask> {
        if matches!(self.stop, Stop::Head | Stop::Trailers) {
            return None;
        }
        if self.head == Progress::Arrived {
            self.head = Progress::Asked;
            self.headers_open = true;
            self.end_told = self.ended && !self.body_due && self.tail == Progress::Absent;
            return Some(Ask::Head { end: self.end_told });
        }
        if self.body_due {
            self.body_due = false;
            self.held.append(self.waiting.take());
            self.body_open = true;
            self.end_told = self.ended && self.tail == Progress::Absent;
            return Some(Ask::Body { size: self.held.len(), end: self.end_told });
        }
        if self.tail == Progress::Arrived {
            self.tail = Progress::Asked;
            self.trailers_open = true;
            return Some(Ask::Trailers);
        }
        None
    }

    /// The guest answered `Continue` to this question.
    pub(crate) fn go(&mut self, ask: Ask) {
        self.release();
        if ask == Ask::Trailers || self.tail == Progress::Asked {
            self.tail = Progress::Released;
            self.trailers_open = false;
        }
    }

    /// The guest answered `Pause`.
    pub(crate) fn pause(&mut self, ask: Ask, body_while_head_held: bool) {
        self.stop = match ask {
            Ask::Head { .. } if body_while_head_held => Stop::HeadOnly,
            Ask::Head { .. } => Stop::Head,
            Ask::Body { .. } => Stop::Body,
            Ask::Trailers => Stop::Trailers,
        };
    }

    /// The guest resumes from elsewhere. Whether anything was stopped.
    pub(crate) fn resume(&mut self) -> bool {
        let stopped = self.stop != Stop::No;
        if stopped {
            self.go(if self.stop == Stop::Trailers { Ask::Trailers } else { Ask::Body { size: 0, end: false } });
        }
        stopped
    }

    fn release(&mut self) {
        self.stop = Stop::No;
        self.headers_open = false;
        self.body_open = false;
        if self.head == Progress::Asked {
            self.head = Progress::Released;
        }
        self.released.append(self.held.take());
    }

    /// Lets everything go without asking the guest: it is dead, bypassed or may not see this message.
    pub(crate) fn pass(&mut self) {
        while self.stop != Stop::No || self.next().is_some() {
            self.release();
            if matches!(self.tail, Progress::Asked | Progress::Arrived) && !self.body_due {
                self.tail = Progress::Released;
                self.trailers_open = false;
            }
        }
    }

    /// Replaces a message of which nothing has gone on yet, and lets the new one go unseen.
    pub(crate) fn replace(&mut self, headers: HeaderMap, body: Bytes) {
        *self = Half::default();
        self.head_in(headers, body.is_empty());
        if !body.is_empty() {
            self.body_in(body, true);
        }
        self.pass();
    }

    /// Body bytes in memory here.
    pub(crate) fn bytes(&self) -> usize {
        self.held.len() + self.waiting.len() + self.released.len()
    }

    /// Whether the head may have left.
    pub(crate) fn head_left(&self) -> bool {
        self.head >= Progress::Released
    }

    /// Trailers can still be made: the guest is at the end of the body and there are none.
    pub(crate) fn make_trailers(&mut self) -> bool {
        let may = self.tail == Progress::Absent && self.body_open && self.end_told;
        if may {
            self.tail = Progress::Asked;
            self.trailers_open = true;
        }
        self.trailers_open
    }

    /// Takes what may go on since the last time.
    pub(crate) fn take(&mut self) -> Released<'_> {
        let head = self.head == Progress::Released;
        if head {
            self.head = Progress::Taken;
        }
        let trailers = self.tail == Progress::Released;
        if trailers {
            self.tail = Progress::Taken;
        }
        let tail_done = matches!(self.tail, Progress::Absent | Progress::Taken);
        let done = self.ended
            && self.stop == Stop::No
            && self.head == Progress::Taken
            && !self.body_due
            && tail_done
            && !self.end_taken;
        self.end_taken |= done;
        Released {
            headers: head.then_some(&self.headers),
            body: self.released.take(),
            trailers: trailers.then_some(&self.trailers),
            end: done,
        }
    }
}

/// What may go on in one direction since it was last taken.
#[derive(Debug)]
pub struct Released<'a> {
    /// The head, once.
    pub headers: Option<&'a HeaderMap>,
    /// Body bytes; empty when there are none.
    pub body: Bytes,
    /// Trailers, once; after the body.
    pub trailers: Option<&'a HeaderMap>,
    /// The message ends here. Said once.
    pub end: bool,
}

impl Released<'_> {
    /// Whether nothing can go on now.
    pub fn is_empty(&self) -> bool {
        self.headers.is_none() && self.body.is_empty() && self.trailers.is_none() && !self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a message "h b:xy b:z. t" (a dot ends it) against answers ("c" continue, "p" pause, "P" pause at the head
    /// with body callbacks) and tells what was asked and what went on.
    fn run(message: &str, answers: &str) -> (String, Half) {
        let mut half = Half::default();
        let mut answers = answers.chars();
        let mut log = String::new();
        for part in message.split_whitespace() {
            let end = part.ends_with('.');
            match part.trim_end_matches('.').split_once(':') {
                Some((_, body)) => half.body_in(Bytes::copy_from_slice(body.as_bytes()), end),
                None if part.starts_with('h') => half.head_in(HeaderMap::new(), end),
                None => half.trailers_in(HeaderMap::new()),
            }
            pump(&mut half, &mut answers, &mut log);
            log += &taken(&mut half);
        }
        (log, half)
    }

    fn pump(half: &mut Half, answers: &mut std::str::Chars<'_>, log: &mut String) {
        while let Some(ask) = half.next() {
            *log += &match ask {
                Ask::Head { end } => format!("head{} ", if end { "." } else { "" }),
                Ask::Body { size, end } => format!("body{size}{} ", if end { "." } else { "" }),
                Ask::Trailers => "trailers ".to_owned(),
            };
            match answers.next().unwrap_or('c') {
                'c' => half.go(ask),
                answer => half.pause(ask, answer == 'P'),
            }
        }
    }

    fn taken(half: &mut Half) -> String {
        let out = half.take();
        let mut text = String::new();
        if out.headers.is_some() {
            text += "H";
        }
        text += std::str::from_utf8(&out.body).unwrap();
        if out.trailers.is_some() {
            text += "T";
        }
        if out.end {
            text += ".";
        }
        format!("[{text}] ")
    }

    #[test]
    fn a_message_passes_part_by_part() {
        assert_eq!(run("h b:xy b:z t", "").0, "head [H] body2 [xy] body1 [z] trailers [T.] ");
        assert_eq!(run("h.", "").0, "head. [H.] ");
        assert_eq!(run("h b:x b:.", "").0, "head [H] body1 [x] body0. [.] ");
    }

    #[test]
    fn pause_at_the_head_stops_everything() {
        let (log, mut half) = run("h b:xy b:z.", "p");
        assert_eq!(log, "head [] [] [] ");
        assert!(half.resume());
        let mut log = String::new();
        pump(&mut half, &mut "".chars(), &mut log);
        assert_eq!(log + &taken(&mut half), "body3. [Hxyz.] ");
    }

    #[test]
    fn pause_at_the_head_alone_still_shows_the_body() {
        assert_eq!(run("h b:xy b:z.", "Ppc").0, "head [] body2 [] body3. [Hxyz.] ");
        assert_eq!(run("h b:xy b:z.", "Pcc").0, "head [] body2 [Hxy] body1. [z.] ");
    }

    #[test]
    fn pause_at_the_body_collects_it() {
        assert_eq!(run("h b:xy b:z b:.", "cppc").0, "head [H] body2 [] body3 [] body3. [xyz.] ");
    }

    #[test]
    fn trailers_release_a_held_body() {
        assert_eq!(run("h b:xy t", "cpc").0, "head [H] body2 [] trailers [xyT.] ");
        let (log, mut half) = run("h b:xy t", "cpp");
        assert_eq!(log, "head [H] body2 [] trailers [] ");
        assert!(half.resume());
        assert_eq!(taken(&mut half), "[xyT.] ");
        assert!(!half.resume());
    }

    #[test]
    fn a_passed_message_goes_on_whole() {
        let (_, mut half) = run("h b:xy", "p");
        half.trailers_in(HeaderMap::new());
        half.pass();
        assert_eq!(taken(&mut half), "[HxyT.] ");
        half.replace(HeaderMap::new(), Bytes::from_static(b"new"));
        assert_eq!(taken(&mut half), "[Hnew.] ");
    }

    #[test]
    fn trailers_can_be_made_at_the_end_of_the_body_only() {
        let mut half = Half::default();
        half.head_in(HeaderMap::new(), false);
        let head = half.next().unwrap();
        assert!(!half.make_trailers());
        half.go(head);
        half.body_in(Bytes::from_static(b"x"), true);
        let body = half.next().unwrap();
        assert!(half.make_trailers());
        half.go(body);
        assert_eq!(taken(&mut half), "[HxT.] ");
    }
}
