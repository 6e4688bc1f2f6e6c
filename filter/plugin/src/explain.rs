//! `shunt_explain`: what would this filter do with a request, and why? For tools; no Proxy-Wasm host calls it.
//!
//! A question is a little-endian u32, the number of vain tries to be told one by one, and behind it the request's header
//! map in the host's encoding ([`pairs`]). The answer is a [`traffic_policy::explain::Explanation`] as JSON.

use crate::pairs;
use traffic_policy::{Policy, RequestHead};

/// Answers one question; empty when it is none.
pub fn answer(policy: &Policy, question: &[u8]) -> Vec<u8> {
    let Some((limit, encoded)) = question.split_first_chunk() else { return Vec::new() };
    let limit = usize::try_from(u32::from_le_bytes(*limit)).unwrap_or(usize::MAX);
    let pairs = pairs::read(encoded);
    serde_json::to_vec(&policy.explain(&RequestHead::new(&pairs), limit)).unwrap_or_default()
}

#[cfg(target_arch = "wasm32")]
mod export {
    use crate::hostcalls;
    use std::cell::RefCell;
    use std::rc::Rc;
    use traffic_policy::Policy;

    thread_local! {
        /// The policy of the plugin context that was configured last, and the answer that the host is reading.
        static ASKED: RefCell<(Rc<Policy>, Vec<u8>)> = RefCell::default();
    }

    /// From now on questions are about this policy.
    pub(crate) fn about(policy: &Rc<Policy>) {
        ASKED.with_borrow_mut(|(asked, _)| *asked = policy.clone());
    }

    /// Takes a question that the host wrote into memory from `malloc`; returns the address of the answer in the upper half
    /// and its length in the lower. It stands there until the next question.
    ///
    /// # Safety
    /// `data` is null or came from `malloc` with `size`, and nobody else owns it.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn shunt_explain(data: *mut u8, size: usize) -> u64 {
        // SAFETY: passed on as received.
        let question = unsafe { hostcalls::take_over(data, size) };
        ASKED.with_borrow_mut(|(policy, answer)| {
            *answer = super::answer(policy, &question);
            (answer.as_ptr().addr() as u64) << 32 | answer.len() as u64
        })
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) use export::about;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_question_has_no_answer() {
        assert!(answer(&Policy::default(), b"abc").is_empty());
        let unknown = answer(&Policy::default(), &[0; 4]);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&unknown).unwrap()["action"], "unknownHost");
    }
}
