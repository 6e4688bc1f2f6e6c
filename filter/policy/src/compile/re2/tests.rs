//! What comparing with RE2 itself brought to light, and what was tried on Envoy, as data.

use super::translate;
use regex::bytes::RegexBuilder;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// The whole texts that the pattern matches, and some that it does not.
fn check(pattern: &str, matches: &[&[u8]], others: &[&[u8]]) {
    let translated = translate(pattern).unwrap_or_else(|fault| panic!("{pattern}: {fault}"));
    let regex = RegexBuilder::new(&format!(r"\A(?:{translated})\z")).unicode(false).build();
    let regex = regex.unwrap_or_else(|fault| panic!("{pattern} as {translated}: {fault}"));
    for (texts, expected) in [(matches, true), (others, false)] {
        for text in texts {
            let shown = text.escape_ascii();
            assert_eq!(regex.is_match(text), expected, "{pattern} as {translated} on {shown}");
        }
    }
}

#[test]
fn quotes_escapes_and_octals() {
    check(r"\Qa.b*\E+", &[b"a.b**"], &[]);
    check(r"\Qa.b", &[b"a.b"], &[b"axb"]);
    check(r"\Q", &[b""], &[]);
    check(r"a\.b\-\_\<\ \~", &[b"a.b-_< ~"], &[]);
    check(r"\101\x42\x{43}\x{0044}\0\07", &[b"ABCD\0\x07"], &[]);
    check(r"a\Cb", &[b"a\nb", b"a\xffb"], &["aéb".as_bytes()]);
    check(r"\/v1\/.*", &[b"/v1/x"], &[b"/v2/x"]);
}

#[test]
fn braces_and_brackets_that_stand_for_themselves() {
    check(r"{id}", &[b"{id}"], &[]);
    check(r"a{,2}", &[b"a{,2}"], &[b"aa"]);
    check(r"a{01}", &[b"a{01}"], &[b"a"]);
    check(r"a{2}", &[b"aa"], &[b"a"]);
    check(r"a{2,3}?", &[b"aaa"], &[b"a"]);
    check(r"]}", &[b"]}"], &[]);
    check(r"[[]", &[b"["], &[]);
    check(r"[a&&b]+", &[b"a&b"], &[]);
    check(r"[]a]+", &[b"]a"], &[]);
    check(r"[^]a]", &[b"["], &[b"]", b"a"]);
    check(r"[+--]+", &[b"+,-"], &[]);
    check(r"[--a]", &[b"0"], &[b"b"]);
    check(r"[a-]+", &[b"a-"], &[b"b"]);
    check(r"[\d-z]+", &[b"1-z"], &[b"a"]);
    check(r"[[:alpha:]_]+", &[b"ab_"], &[]);
    check(r"[[:alpha]", &[b"[", b":"], &[b"b"]);
    check(r"[~~]", &[b"~"], &[]);
}

#[test]
fn a_byte_is_a_character() {
    check(".", &[b"\xff", b"\xe9", b"a"], &["é".as_bytes(), b"\n"]);
    check("a..b", &["aéb".as_bytes()], &[b"a\xffb"]);
    check("[^x][^x]", &["é".as_bytes()], &[b"\xe9"]);
    check(".*", &[b"\xff", b"\xed\xa0\x80", b""], &[]);
    check("é", &["é".as_bytes()], &["É".as_bytes(), b"\xe9"]);
    // The repetition takes the second byte, and the class has two.
    check("é+", &[b"\xc3\xa9\xa9"], &["éé".as_bytes()]);
    check("[é]", &[b"\xc3", b"\xa9"], &["é".as_bytes()]);
    check(r"\x{e9}\xE9\351", &[b"\xe9\xe9\xe9"], &[]);
}

#[test]
fn short_classes_and_case_are_ascii() {
    check(r"\d", &[b"7"], &["\u{0663}".as_bytes()]);
    check(r"\s", &[b"\t", b"\r"], &[b"\x0b", b"\xa0"]);
    check(r"[\s\S]+", &[b"a \x0b\xff"], &[]);
    check(r"\w+", &[b"a_1"], &[b"\xe9"]);
    check(r"\W", &[b"\xe9", b"-"], &[b"a"]);
    check(r"(?i)k\xe9", &[b"K\xe9", b"k\xe9"], &[b"k\xc9", "\u{212a}\u{e9}".as_bytes()]);
    check(r"(?i)[^k]", &[b"j"], &[b"K"]);
    check(r"(?i:a)b", &[b"Ab"], &[b"AB"]);
    check(r"a.(?s).", &[b"aa\n"], &[b"a\na"]);
}

#[test]
fn categories_and_scripts_within_latin_1() {
    check(r"\pL", &[b"a", b"\xe9", b"\xff"], &[b"1", b"\xd7"]);
    check(r"\PL", &[b"1", b"\xd7"], &[b"a", b"\xe9"]);
    check(r"\P{^L}", &[b"a"], &[b"1"]);
    check(r"[\p{Lu}\d]", &[b"A", b"1", b"\xc9"], &[b"a"]);
    check(r"(?i)\p{Lu}", &[b"a", b"\xc9"], &[b"\xe9"]);
    check(r"\p{Latin}", &[b"a"], &[b"_"]);
    check(r"\p{Greek}|x", &[b"x"], &["λ".as_bytes(), b"\xce", b"\xbb"]);
    check(r"[\P{Greek}]", &[b"\xce"], &[]);
    check(r"[^\p{Greek}]", &[b"\xce"], &[]);
}

#[test]
fn groups_and_flags() {
    check(r"(?P<a>x)(?<a>y)(?P<1>z)", &[b"xyz"], &[]);
    check("(?ii:a)(?)(?i-i:b)", &[b"Ab"], &[b"AB"]);
    check("(?:a{2}){3}", &[b"aaaaaa"], &[b"aaa"]);
    check("a(?i)b|c", &[b"aB", b"C"], &[b"AB"]);
    check("^*a$+", &[b"a"], &[]);
    check("(?m)a$\n^b", &[b"a\nb"], &[]);
}

#[test]
fn what_re2_refuses_is_refused() {
    for pattern in [
        "a**",
        "a++",
        "a{2}{3}",
        "a{1001}",
        "a{3,1}",
        "(a{100}){100}",
        "(?:(a{2}){30}b){20}",
        "*a",
        "(*)",
        "a|*",
        "{2}",
        r"\1",
        r"\8",
        r"\u0041",
        r"\E",
        r"\Z",
        r"\é",
        r"\x",
        r"\xg0",
        r"\x{",
        r"\x{100}",
        r"\777",
        r"\",
        "(?x)a",
        "(?=a)",
        "(?<=a)",
        "(?!a)",
        "(?-)",
        "(?--i:a)",
        "(?P=a)",
        "(?P<>a)",
        "(?P<a b>c)",
        "(",
        ")",
        "a)(b",
        "[a",
        "[]",
        "[b-a]",
        r"[a-\d]",
        r"[\b]",
        r"[\Q]",
        "[[:foo:]]",
        r"\pX",
        r"\p{Foo}",
        r"\p{greek}",
        r"\p{Grek}",
        r"\p{Cn}",
        r"\p{L",
        r"\p",
    ] {
        assert!(translate(pattern).is_err(), "{pattern}");
    }
}

/// RE2 takes these; they are refused with the reason, not served as something else.
#[test]
fn a_repetition_behind_flags_is_not_served() {
    for pattern in ["a(?i)*", r"a*\Q\E*"] {
        assert!(translate(pattern).is_err(), "{pattern}");
    }
}
