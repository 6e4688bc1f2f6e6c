//! `\pL` and `\p{Greek}`: general categories and scripts, by RE2's names, as far as Latin-1 goes.

/// What stands in brackets for each name; as RE2 has it.
#[rustfmt::skip]
const CHARACTERS: [(&str, &str); 28] = [
    ("C", r"\x00-\x1F\x7F-\x9F\xAD"),
    ("Cc", r"\x00-\x1F\x7F-\x9F"),
    ("Cf", r"\xAD"),
    ("L", r"\x41-\x5A\x61-\x7A\xAA\xB5\xBA\xC0-\xD6\xD8-\xF6\xF8-\xFF"),
    ("Ll", r"\x61-\x7A\xB5\xDF-\xF6\xF8-\xFF"),
    ("Lo", r"\xAA\xBA"),
    ("Lu", r"\x41-\x5A\xC0-\xD6\xD8-\xDE"),
    ("N", r"\x30-\x39\xB2-\xB3\xB9\xBC-\xBE"),
    ("Nd", r"\x30-\x39"),
    ("No", r"\xB2-\xB3\xB9\xBC-\xBE"),
    ("P", r"\x21-\x23\x25-\x2A\x2C-\x2F\x3A-\x3B\x3F-\x40\x5B-\x5D\x5F\x7B\x7D\xA1\xA7\xAB\xB6-\xB7\xBB\xBF"),
    ("Pc", r"\x5F"),
    ("Pd", r"\x2D"),
    ("Pe", r"\x29\x5D\x7D"),
    ("Pf", r"\xBB"),
    ("Pi", r"\xAB"),
    ("Po", r"\x21-\x23\x25-\x27\x2A\x2C\x2E-\x2F\x3A-\x3B\x3F-\x40\x5C\xA1\xA7\xB6-\xB7\xBF"),
    ("Ps", r"\x28\x5B\x7B"),
    ("S", r"\x24\x2B\x3C-\x3E\x5E\x60\x7C\x7E\xA2-\xA6\xA8-\xA9\xAC\xAE-\xB1\xB4\xB8\xD7\xF7"),
    ("Sc", r"\x24\xA2-\xA5"),
    ("Sk", r"\x5E\x60\xA8\xAF\xB4\xB8"),
    ("Sm", r"\x2B\x3C-\x3E\x7C\x7E\xAC\xB1\xD7\xF7"),
    ("So", r"\xA6\xA9\xAE\xB0"),
    ("Z", r"\x20\xA0"),
    ("Zs", r"\x20\xA0"),
    ("Any", r"\x00-\xFF"),
    ("Common", r"\x00-\x40\x5B-\x60\x7B-\xA9\xAB-\xB9\xBB-\xBF\xD7\xF7"),
    ("Latin", r"\x41-\x5A\x61-\x7A\xAA\xBA\xC0-\xD6\xD8-\xF6\xF8-\xFF"),
];

/// Names of what has no character in Latin-1.
const EMPTY: &str = "Co Cs Lm Lt M Mc Me Mn Nl Zl Zp Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum \
    Bassa_Vah Batak Bengali Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian \
    Caucasian_Albanian Chakma Cham Cherokee Chorasmian Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret \
    Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic \
    Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew \
    Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada \
    Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Lepcha Limbu Linear_A \
    Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen Masaram_Gondi Medefaidrin \
    Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar \
    Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki \
    Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic \
    Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang \
    Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo \
    Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu \
    Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi \
    Zanabazar_Square";

/// The characters of a category or script, as they stand in brackets; empty when Latin-1 has none. `None` for a name that
/// RE2 does not know.
pub(super) fn characters(name: &str) -> Option<&'static str> {
    let known = CHARACTERS.iter().find(|(known, _)| *known == name).map(|(_, characters)| *characters);
    known.or_else(|| EMPTY.split_ascii_whitespace().any(|known| known == name).then_some(""))
}
