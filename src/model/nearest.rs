//! "Did you mean": the nearest of the names that are allowed.

/// The candidate with the smallest edit distance to `name`, if it is near enough to be a slip of the
/// hand (a third of its length, at least two).
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|c| (distance(name, c), c))
        .min()
        .filter(|(d, c)| *d <= (c.len() / 3).max(2))
        .map(|(_, c)| c)
}

/// The hint for an unknown name: the nearest known one between `quote`s, or what `otherwise` says.
pub fn hint<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    quote: char,
    otherwise: impl FnOnce() -> String,
) -> String {
    match nearest(name, candidates) {
        Some(near) => format!("Did you mean {quote}{near}{quote}?"),
        None => otherwise(),
    }
}

/// Levenshtein distance, the two-row form (Wagner & Fischer 1974).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let above = row[j + 1];
            let substitute = diagonal + usize::from(ca != *cb);
            row[j + 1] = substitute.min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_slip_and_refuses_a_stranger() {
        let names = ["batch_rows", "delay_ms", "lock_timeout_ms"];
        assert_eq!(nearest("batchrows", names), Some("batch_rows"));
        assert_eq!(nearest("dealy_ms", names), Some("delay_ms"));
        assert_eq!(nearest("colour", names), None);
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
