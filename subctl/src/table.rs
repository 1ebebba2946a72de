//! Tables as Go subctl prints them, and the same rows for programs.

use serde_json::{Map, Value, json};

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(String),
    Flag(bool),
    Number(u64),
    List(Vec<String>),
}

/// A column: its title, its name in JSON, and how many bytes of a cell are shown.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub title: &'static str,
    pub key: &'static str,
    pub max: Option<usize>,
    /// Shown with `-o wide` only.
    pub wide: bool,
}

impl Column {
    pub const fn new(title: &'static str, key: &'static str) -> Self {
        Self {
            title,
            key,
            max: None,
            wide: false,
        }
    }

    #[must_use]
    pub const fn at_most(mut self, max: usize) -> Self {
        self.max = Some(max);
        self
    }

    #[must_use]
    pub const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }
}

#[derive(Clone, Debug)]
pub struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<Cell>>,
}

/// Between the longest cell of a column and the next column.
const GAP: usize = 3;

impl Table {
    pub fn new(columns: &'static [Column]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// One cell per column.
    pub fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lines of text. Widths are counted in bytes and filled by characters, as in Go subctl.
    pub fn render(&self, wide: bool) -> String {
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|&at| wide || !self.columns[at].wide)
            .collect();
        let cell = |row: &[Cell], at: usize| {
            let text = row.get(at).map(Cell::text).unwrap_or_default();
            let max = self.columns[at].max.filter(|_| !wide);
            max.map_or(text.clone(), |max| cut(&text, max).to_owned())
        };
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| cell(row, at).len());
            cells.max().unwrap_or(0).max(self.columns[at].title.len()) + GAP
        };
        let widths: Vec<usize> = shown.iter().map(|&at| width(at)).collect();
        let mut text = String::new();
        let mut line = |cells: Vec<String>| {
            for (cell, width) in cells.iter().zip(&widths) {
                text.push_str(&format!("{cell:<width$}"));
            }
            text.push('\n');
        };
        line(
            shown
                .iter()
                .map(|&at| self.columns[at].title.to_owned())
                .collect(),
        );
        for row in &self.rows {
            line(shown.iter().map(|&at| cell(row, at)).collect());
        }
        text
    }

    /// A list of objects, all columns.
    pub fn to_json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let fields = self.columns.iter().zip(row);
            let fields: Map<String, Value> = fields
                .map(|(column, cell)| (column.key.to_owned(), cell.to_json()))
                .collect();
            Value::Object(fields)
        };
        Value::Array(self.rows.iter().map(object).collect())
    }
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Self::Number(number) => number.to_string(),
            Self::List(items) => items.join(", "),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Flag(flag) => json!(flag),
            Self::Number(number) => json!(number),
            Self::List(items) => json!(items),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Vec<String>> for Cell {
    fn from(items: Vec<String>) -> Self {
        Self::List(items)
    }
}

/// At most `max` bytes, whole characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::new("GATEWAY", "gateway").at_most(30),
        Column::new("NAT", "nat"),
        Column::new("SUBNETS", "subnets").at_most(26),
        Column::new("RTT avg.", "rtt"),
    ];

    fn table() -> Table {
        let mut table = Table::new(&COLUMNS);
        let subnets = ["10.99.0.0/16", "10.9.0.0/16", "fd00::/48"].map(String::from);
        table.push(vec![
            "c2-worker".into(),
            false.into(),
            subnets.to_vec().into(),
            "388.079µs".into(),
        ]);
        table
    }

    #[test]
    fn widths_are_those_of_go_subctl() {
        // The micro sign has two bytes, hence one space more in its line.
        assert_eq!(
            table().render(false),
            "GATEWAY     NAT   SUBNETS                      RTT avg.     \n\
             c2-worker   no    10.99.0.0/16, 10.9.0.0/16,   388.079µs    \n"
        );
    }

    #[test]
    fn wide_shows_all_and_json_keeps_types() {
        assert!(table().render(true).contains("fd00::/48"));
        assert_eq!(
            table().to_json(),
            json!([{
                "gateway": "c2-worker",
                "nat": false,
                "subnets": ["10.99.0.0/16", "10.9.0.0/16", "fd00::/48"],
                "rtt": "388.079µs",
            }])
        );
    }

    #[test]
    fn cells_are_cut_between_characters() {
        assert_eq!(cut("aµb", 2), "a");
        assert_eq!(cut("ab", 9), "ab");
    }
}
