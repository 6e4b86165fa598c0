//! Search: which documents, in which order, and what to mark in them.
//!
//! A query is a list of phrases; a document matches when it holds all of them, in whatever
//! sentences. `"two words"` is one phrase, and so is `e-mail`. The last word of each phrase
//! matches as a prefix. Every other character is a separator: there is no query that is an error.
//!
//! The database matches and ranks (its own way, see [`match_sqlite`] and [`match_postgres`]); what
//! is marked is decided here, with the same [`words`] that made the index.

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row};

use crate::store::{Kind, Store, placeholders};
use crate::words::words;

/// Further phrases of a query are ignored.
pub const PHRASES_MAX: usize = 8;
/// The snippets shown for one document.
pub const SNIPPETS_MAX: i64 = 3;
/// A shorter last word is not a prefix: half of the index would match.
const PREFIX_CHARS_MIN: usize = 2;

/// Words that must follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    words: Vec<String>,
    is_prefix: bool,
}

/// A document that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Hit {
    /// The document.
    pub id: String,
    /// Its file name.
    pub name: String,
    /// What it is.
    pub media_type: String,
    /// Higher is better; comparable within one answer only.
    pub score: f64,
    /// The best sentences.
    pub snippets: Vec<Snippet>,
}

/// A sentence with what was found in it.
#[derive(Debug, Clone, Serialize)]
pub struct Snippet {
    /// Counted from 0 through the whole document.
    pub position: i64,
    /// Counted from 1.
    pub page: i64,
    /// The sentence, as it stands in the document: plain text, never markup.
    pub text: String,
    /// Ranges `[start, end)` of `text` to mark, in characters (Unicode scalar values).
    pub marks: Vec<(usize, usize)>,
}

/// The answer to a query.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// How many documents match.
    pub total: i64,
    /// Those asked for, best first.
    pub hits: Vec<Hit>,
}

/// Reads a query. Empty when it holds no word at all.
pub fn parse(query: &str) -> Vec<Phrase> {
    let mut phrases: Vec<Phrase> = Vec::new();
    for (index, part) in query.split('"').enumerate() {
        let is_quoted = index % 2 == 1;
        let chunks: Vec<&str> =
            if is_quoted { vec![part] } else { part.split_whitespace().collect() };
        for chunk in chunks {
            let words: Vec<String> = words(chunk).into_iter().map(|word| word.folded).collect();
            let n_chars = words.last().map_or(0, |word| word.chars().count());
            let phrase = Phrase { words, is_prefix: !is_quoted && n_chars >= PREFIX_CHARS_MIN };
            if n_chars > 0 && !phrases.contains(&phrase) {
                phrases.push(phrase);
            }
        }
    }
    phrases.truncate(PHRASES_MAX);
    phrases
}

/// Finds documents.
pub async fn search(
    store: &Store,
    phrases: &[Phrase],
    limit: i64,
    offset: i64,
) -> Result<Found, sqlx::Error> {
    if phrases.is_empty() {
        return Ok(Found { total: 0, hits: Vec::new() });
    }
    let (total, mut hits) = documents(store, phrases, limit, offset).await?;
    for (index, snippet) in snippets(store, phrases, &hits).await? {
        hits[index].snippets.push(snippet);
    }
    Ok(Found { total, hits })
}

/// The ranges of `text` that a query found, in characters, in order, not overlapping.
pub fn marks(text: &str, phrases: &[Phrase]) -> Vec<(usize, usize)> {
    let words = words(text);
    let mut is_marked = vec![false; words.len()];
    for phrase in phrases {
        for start in 0..words.len() {
            if phrase.is_at(words[start..].iter().map(|word| word.folded.as_str())) {
                is_marked[start..start + phrase.words.len()].fill(true);
            }
        }
    }
    let marked = words.iter().zip(is_marked).filter(|(_, is_marked)| *is_marked);
    marked.map(|(word, _)| (word.chars.start, word.chars.end)).collect()
}

impl Phrase {
    fn is_at<'a>(&self, mut text: impl Iterator<Item = &'a str>) -> bool {
        let last = self.words.len() - 1;
        self.words.iter().enumerate().all(|(index, word)| {
            text.next().is_some_and(|found| {
                if index == last && self.is_prefix {
                    found.starts_with(word)
                } else {
                    found == word
                }
            })
        })
    }

    /// `"two words" *`: folded words need no escaping (see [`crate::words`]).
    fn for_sqlite(&self) -> String {
        format!("\"{}\"{}", self.words.join(" "), if self.is_prefix { " *" } else { "" })
    }

    /// `'two' <-> 'words':*`.
    fn for_postgres(&self) -> String {
        let quoted: Vec<String> = self.words.iter().map(|word| format!("'{word}'")).collect();
        format!("({}{})", quoted.join(" <-> "), if self.is_prefix { ":*" } else { "" })
    }
}

/// The sentences that match parameter `$n`, with a score, by BM25.
fn match_sqlite(n: usize) -> String {
    format!(
        "SELECT s.document_id, s.position, -bm25(sentence_words) AS score FROM sentence_words \
         JOIN sentences s ON s.id = sentence_words.rowid WHERE sentence_words MATCH ${n}"
    )
}

/// The sentences that match parameter `$n`, with a score: how close the words stand together
/// (`1` dampens length).
fn match_postgres(n: usize) -> String {
    format!(
        "SELECT s.document_id, s.position, \
         CAST(ts_rank_cd(s.words, CAST(${n} AS tsquery), 1) AS DOUBLE PRECISION) AS score \
         FROM sentences s WHERE s.words @@ CAST(${n} AS tsquery)"
    )
}

fn matching(kind: Kind, n: usize) -> String {
    match kind {
        Kind::Sqlite => match_sqlite(n),
        Kind::Postgres => match_postgres(n),
    }
}

/// Each phrase's best sentence counts; a document must have one for every phrase.
async fn documents(
    store: &Store,
    phrases: &[Phrase],
    limit: i64,
    offset: i64,
) -> Result<(i64, Vec<Hit>), sqlx::Error> {
    let mut ctes = Vec::new();
    let mut bests = Vec::new();
    for n in 1..=phrases.len() {
        ctes.push(format!("m{n} AS MATERIALIZED ({})", matching(store.kind, n)));
        bests
            .push(format!("SELECT document_id, MAX(score) AS best FROM m{n} GROUP BY document_id"));
    }
    let n_phrases = phrases.len();
    let sql = format!(
        "WITH {}, found AS (SELECT document_id, SUM(best) AS score FROM ({}) AS bests \
         GROUP BY document_id HAVING COUNT(*) = {n_phrases}) \
         SELECT d.id, d.name, d.media_type, f.score, COUNT(*) OVER () AS total \
         FROM found f JOIN documents d ON d.id = f.document_id \
         ORDER BY f.score DESC, d.id LIMIT ${} OFFSET ${}",
        ctes.join(", "),
        bests.join(" UNION ALL "),
        n_phrases + 1,
        n_phrases + 2,
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for phrase in phrases {
        query = query.bind(match store.kind {
            Kind::Sqlite => phrase.for_sqlite(),
            Kind::Postgres => phrase.for_postgres(),
        });
    }
    let rows = query.bind(limit).bind(offset).fetch_all(&store.pool).await?;
    let total = rows.first().map_or(Ok(0), |row| row.try_get(4))?;
    let hit = |row: &sqlx::any::AnyRow| {
        Ok(Hit {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            media_type: row.try_get(2)?,
            score: row.try_get(3)?,
            snippets: Vec::new(),
        })
    };
    let hits = rows.iter().map(hit).collect::<Result<_, sqlx::Error>>()?;
    Ok((total, hits))
}

/// The best sentences of each hit for any of the phrases, with the index of the hit.
async fn snippets(
    store: &Store,
    phrases: &[Phrase],
    hits: &[Hit],
) -> Result<Vec<(usize, Snippet)>, sqlx::Error> {
    if hits.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "WITH m AS MATERIALIZED ({}), ranked AS (SELECT m.document_id, m.position, \
         ROW_NUMBER() OVER (PARTITION BY m.document_id ORDER BY m.score DESC, m.position) AS place \
         FROM m WHERE m.document_id IN ({})) \
         SELECT r.document_id, s.position, s.page, s.text FROM ranked r JOIN sentences s \
         ON s.document_id = r.document_id AND s.position = r.position \
         WHERE r.place <= {SNIPPETS_MAX} ORDER BY r.document_id, r.place",
        matching(store.kind, 1),
        placeholders(2, hits.len()),
    );
    let any: Vec<String> = match store.kind {
        Kind::Sqlite => phrases.iter().map(Phrase::for_sqlite).collect(),
        Kind::Postgres => phrases.iter().map(Phrase::for_postgres).collect(),
    };
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(match store.kind {
        Kind::Sqlite => any.join(" OR "),
        Kind::Postgres => any.join(" | "),
    });
    for hit in hits {
        query = query.bind(hit.id.as_str());
    }
    let mut found = Vec::new();
    for row in query.fetch_all(&store.pool).await? {
        let id: &str = row.try_get(0)?;
        let text: String = row.try_get(3)?;
        let marks = marks(&text, phrases);
        let snippet = Snippet { position: row.try_get(1)?, page: row.try_get(2)?, text, marks };
        if let Some(index) = hits.iter().position(|hit| hit.id == id) {
            found.push((index, snippet));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str, query: &str) -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        let part = |(start, end): (usize, usize)| chars[start..end].iter().collect();
        marks(text, &parse(query)).into_iter().map(part).collect()
    }

    #[test]
    fn words_are_marked_whole_when_the_query_is_their_beginning() {
        assert_eq!(marked("Keels and keelsons, not akeel", "keel"), ["Keels", "keelsons"]);
    }

    #[test]
    fn accents_do_not_matter_and_ranges_count_characters() {
        assert_eq!(marked("Über den Élan", "elan uber"), ["Über", "Élan"]);
    }

    #[test]
    fn a_quoted_phrase_is_marked_only_as_a_whole() {
        assert_eq!(marked("load line, line load", "\"load line\""), ["load", "line"]);
        assert_eq!(marked("line load", "\"load line\""), Vec::<String>::new());
    }

    #[test]
    fn one_letter_is_no_prefix() {
        assert_eq!(marked("a and b", "a"), ["a"]);
    }

    #[test]
    fn query_syntax_means_nothing() {
        assert!(parse("\" * \" -- ;  () :* & | !").is_empty());
        assert_eq!(parse("AND").len(), 1);
        assert_eq!(parse(&"word1 word2 ".repeat(100)).len(), 2);
        assert_eq!(
            parse(&(0..100).map(|n| format!("w{n} ")).collect::<String>()).len(),
            PHRASES_MAX
        );
    }
}
