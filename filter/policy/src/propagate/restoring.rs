//! The outbound side: what a request gets of what is kept, and how it looks then.

use super::Propagation;
use super::entry::{Entry, Field, Group, Kind};
use super::id::Id;
use crate::cookies::{bare, cookies, named, pieces};
use crate::headers::Edit;
use crate::request::{HeaderPair, RequestHead};
use std::borrow::Cow;
use std::collections::BTreeSet;

const COOKIE: &str = "cookie";

/// What is kept of the inbound request that an outbound one belongs to.
#[derive(Clone, Debug)]
pub struct Context<'s> {
    entry: Entry<'s>,
}

impl Propagation {
    /// The context that a slot holds, if it is this id's and alive.
    pub fn context<'s>(&self, id: &Id<'_>, held: &'s [u8], now_ms: u64) -> Option<Context<'s>> {
        let entry = Entry::read(held).filter(|entry| entry.id == id.bytes() && entry.is_alive(now_ms))?;
        Some(Context { entry })
    }

    /// What `request` gets of the context under these rules.
    pub(super) fn edits<'c, 'p: 'c>(
        &'p self,
        rules: u64,
        context: &Context<'c>,
        request: &RequestHead<'_>,
    ) -> Vec<Edit<'c>> {
        let mut edits = Vec::new();
        if rules == 0 {
            return edits;
        }
        let groups: BTreeSet<Group<'_>> = context.entry.fields.iter().map(Field::group).collect();
        for group in groups {
            self.group_edits(group, rules, context, request, &mut edits);
        }
        self.cookie_edit(rules, context, request, &mut edits);
        edits
    }

    /// The headers of one group. What the application sends stays, and nothing is mixed into it; unless it sends what it got, or
    /// the rule overwrites: then the group becomes as a whole what it was.
    fn group_edits<'c, 'p: 'c>(
        &'p self,
        group: Group<'_>,
        rules: u64,
        context: &Context<'c>,
        request: &RequestHead<'_>,
        edits: &mut Vec<Edit<'c>>,
    ) {
        let single;
        let names: &[&[u8]] = match &group {
            Group::Family(family) => family.names(),
            Group::Single(Kind::Header, name) => {
                single = [*name];
                &single
            }
            Group::Single(Kind::Cookie, _) => return,
        };
        let kept = |name: &[u8]| -> Vec<&'c [u8]> {
            let fields = context.entry.of_group(group).filter(|field| field.name == name);
            fields.map(|field| field.value).collect()
        };
        let sends = |name: &[u8]| request.values(name).next().is_some();
        let is_as_kept = |name: &[u8]| request.values(name).eq(kept(name));
        let known = names.iter().map(|name| (*name, self.find(rules, name)));
        let overwrites = known.clone().any(|(_, known)| known.is_some_and(|(_, overwrite)| overwrite));
        let is_own = names.iter().any(|name| sends(name) && !is_as_kept(name));
        if is_own && !overwrites {
            return;
        }
        for (name, known) in known.filter_map(|(name, known)| Some((name, known?.0))) {
            let values = kept(name);
            if is_as_kept(name) {
                continue;
            }
            if values.is_empty() {
                edits.push(Edit::Remove(known));
            }
            for (place, value) in values.into_iter().enumerate() {
                let value = Cow::Borrowed(value);
                edits.push(if place == 0 { Edit::Set(known, value) } else { Edit::Add(known, value) });
            }
        }
    }

    /// Cookies that the request lacks, behind those it has.
    fn cookie_edit<'c>(&self, rules: u64, context: &Context<'c>, request: &RequestHead<'_>, edits: &mut Vec<Edit<'c>>) {
        let kept = context.entry.fields.iter().filter(|field| {
            field.kind == Kind::Cookie && self.cookies.iter().any(|known| known.as_bytes() == field.name)
        });
        let pairs = edited(request.pairs(), edits);
        let sent: Vec<_> = cookies(&pairs).collect();
        let overwrites = self.overwrites(rules);
        let mut text: Vec<u8> = Vec::new();
        let mut put = |piece: &[u8]| {
            if !text.is_empty() {
                text.extend_from_slice(b"; ");
            }
            text.extend_from_slice(piece);
        };
        let given: Vec<&Field<'c>> = kept
            .filter(|field| {
                let mut own = sent.iter().filter(|(name, _)| *name == field.name).peekable();
                own.peek().is_none() || overwrites && own.any(|(_, value)| bare(value) != bare(field.value))
            })
            .collect();
        if given.is_empty() {
            return;
        }
        let is_given =
            |piece: &[u8]| named(piece).is_some_and(|(name, _)| given.iter().any(|field| field.name == name));
        pieces(&pairs).filter(|piece| !is_given(piece)).for_each(&mut put);
        for Field { name, value, .. } in given {
            put(&[name, &b"="[..], value].concat());
        }
        edits.retain(|edit| !matches!(edit, Edit::Set(COOKIE, _) | Edit::Add(COOKIE, _)));
        edits.push(Edit::Set(COOKIE, Cow::Owned(text)));
    }
}

/// The pairs after these edits.
pub(super) fn edited<'e>(pairs: &[HeaderPair<'e>], edits: &'e [Edit<'_>]) -> Vec<HeaderPair<'e>> {
    let mut edited = pairs.to_vec();
    for edit in edits {
        match edit {
            Edit::Set(name, value) => {
                edited.retain(|(key, _)| *key != name.as_bytes());
                edited.push((name.as_bytes(), value));
            }
            Edit::Add(name, value) => edited.push((name.as_bytes(), value)),
            Edit::Remove(name) => edited.retain(|(key, _)| *key != name.as_bytes()),
        }
    }
    edited
}
