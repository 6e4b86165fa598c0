//! "Did you mean": the known word nearest to a mistyped one.

/// Nearest of `known` to `typed`, if near enough to be meant.
pub(crate) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    /// Longer words are not compared: the cost grows with the product of the lengths.
    const COMPARED_MAX: usize = 80;
    if typed.len() > COMPARED_MAX {
        return None;
    }
    let typed = typed.to_lowercase();
    let distance = |word: &str| strsim::damerau_levenshtein(&typed, &word.to_lowercase());
    let near = known.into_iter().map(|word| (distance(word), word)).min_by_key(|(d, _)| *d)?;
    let allowed = (near.1.chars().count() / 3).clamp(1, 3);
    (near.0 <= allowed).then_some(near.1)
}

/// A `help:` for a word that is none of `known`: the nearest one, or all of them.
pub(crate) fn help<'a>(typed: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    /// More than this many words are no help.
    const LISTED_MAX: usize = 40;
    if let Some(word) = nearest(typed, known.clone()) {
        return format!("did you mean `{word}`?");
    }
    let all: Vec<_> = known.into_iter().take(LISTED_MAX).map(|word| format!("`{word}`")).collect();
    if all.is_empty() { "there are none".to_owned() } else { format!("known: {}", all.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_word_is_suggested() {
        let known = ["path", "port", "uses", "secrets"];
        assert_eq!(nearest("secret", known), Some("secrets"));
        assert_eq!(nearest("prot", known), Some("port"));
        assert_eq!(nearest("UsEs", known), Some("uses"));
        assert_eq!(nearest("volumes", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
    }
}
