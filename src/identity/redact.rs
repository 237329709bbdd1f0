//! Texts without the secrets that somebody put into them: a token in a path, say, where an id belongs.

use std::borrow::Cow;

/// How our own secrets begin.
const OURS: [&str; 2] = ["tg_", "tgs_"];
/// How every JWT begins: `{"` in base64url.
const JWT: &str = "eyJ";
/// A shorter word is no secret, but may be a piece of one that was cut off.
const SHORTEST: usize = 20;

/// The text with each word that looks like a token or a client secret replaced by how it begins.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    if !OURS.iter().any(|prefix| text.contains(prefix)) && !text.contains(JWT) {
        return Cow::Borrowed(text);
    }
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '=');
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_of_word) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_of_word(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        written.push_str(before);
        let secret = OURS.into_iter().chain([JWT]).filter_map(|prefix| word.find(prefix)).min();
        match secret {
            Some(at) if word.len() - at >= SHORTEST => {
                written.push_str(&word[..at]);
                written.push_str("[a secret]");
            }
            _ => written.push_str(word),
        }
        rest = after;
    }
    written.push_str(rest);
    Cow::Owned(written)
}

#[cfg(test)]
mod tests {
    use super::super::tokens::new_secret;
    use super::*;

    #[test]
    fn secrets_are_taken_out_wherever_they_stand() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";
        for secret in [new_secret("tg_"), new_secret("tgs_"), jwt.to_owned()] {
            for (before, after) in
                [("", ""), ("/api/tokens/", "/x"), ("token `", "` is"), ("a=", "&b"), ("x", " y")]
            {
                let written = without_secrets(&format!("{before}{secret}{after}")).into_owned();
                assert_eq!(written, format!("{before}[a secret]{after}"));
            }
        }
        for text in
            ["", "/api/2.0/mlflow/runs/get", "tok_0190a3b20190a3b20190a3b2", "tg_short", "f\u{fc}r tg_"]
        {
            assert_eq!(without_secrets(text), text);
        }
    }
}
