//! Parameters of a request, in its query or form, and links with parameters.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Leaves RFC 3986's unreserved characters, and the slash of ids, unencoded in a query.
const QUERY_SET: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Names and values of a query or form, in order. A name may occur several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The first value of this name that is not blank, without the blanks around it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs().find(|pair| pair.0 == name).map(|pair| pair.1)
    }

    /// Every value of this name that is not blank.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |pair| pair.0 == name);
        named.map(|pair| pair.1.trim()).filter(|value| !value.is_empty())
    }

    /// The values of this name, each once.
    ///
    /// # Errors
    ///
    /// There are more than `max`.
    pub(crate) fn up_to(&self, max: usize, name: &str) -> Result<Vec<String>, String> {
        let mut found = BTreeSet::new();
        let mut values = Vec::new();
        for value in self.all(name).filter(|value| found.insert((*value).to_owned())) {
            if values.len() == max {
                return Err(format!("At most {max} items are chosen at once."));
            }
            values.push(value.to_owned());
        }
        Ok(values)
    }

    /// These parameters without some names.
    pub(crate) fn without(&self, names: &[&str]) -> Self {
        Self(self.0.iter().filter(|pair| !names.contains(&pair.0.as_str())).cloned().collect())
    }

    /// These parameters and one more.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// Names and values that are not blank.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|pair| (pair.0.as_str(), pair.1.trim())).filter(|pair| !pair.1.is_empty())
    }

    /// The parameters as a sentence names them: `state done, provider fynapse`.
    pub(crate) fn words(&self) -> String {
        self.pairs().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    }

    /// A link to `path` with these parameters, without blank ones.
    pub(crate) fn href(&self, path: &str) -> String {
        let encode = |text: &str| utf8_percent_encode(text, QUERY_SET).to_string();
        let query: Vec<_> =
            self.pairs().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
    }
}

/// A link to `path` with one parameter.
pub(crate) fn href(path: &str, name: &str, value: &str) -> String {
    Params::default().with(name, value).href(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_carries_any_value_and_leaves_out_blanks() {
        let params = Params::default().with("id", "a/b c&d=\"é\"").with("type", " ").with("id", "2");
        assert_eq!(params.href("/x"), "/x?id=a/b%20c%26d%3D%22%C3%A9%22&id=2");
        assert_eq!(params.all("id").collect::<Vec<_>>(), ["a/b c&d=\"é\"", "2"]);
        assert_eq!((params.get("type"), params.get("id")), (None, Some("a/b c&d=\"é\"")));
        assert_eq!(params.without(&["id"]).href("/x"), "/x");
        assert_eq!(params.words(), "id a/b c&d=\"é\", id 2");
    }
}
