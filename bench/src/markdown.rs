//! Tables as text that reads well in a terminal and on a page.

use crate::report::{Goal, Spread, Table, figure};

/// A table with its goals. `plot` is the name of its picture, in the same folder.
pub fn of(table: &Table, plot: &str) -> String {
    let mut text = format!(
        "## {}\n\n{}: minimum / median / maximum. {}\n\n",
        table.title, table.unit, table.method
    );
    let mut head = vec![String::new()];
    head.extend(table.columns.iter().cloned());
    let body = table.rows.iter().map(|row| {
        let mut cells = vec![row.name.clone()];
        let cell = |cell: &Option<Spread>| cell.map_or_else(|| "—".into(), |c| c.to_string());
        cells.extend(row.cells.iter().map(cell));
        cells
    });
    text += &aligned(&head, &body.collect::<Vec<_>>());
    text += &format!("\n![{}]({plot})\n", table.title);
    if !table.goals.is_empty() {
        text += "\n";
        text += &goals(&table.goals);
    }
    text
}

fn goals(goals: &[Goal]) -> String {
    let head = ["goal", "measured", "at most", "spread", ""].map(String::from);
    let body = goals.iter().map(|goal| {
        vec![
            goal.what.clone(),
            figure(goal.measured),
            figure(goal.at_most),
            format!("± {:.0} %", goal.noise * 100.0),
            goal.verdict().to_string(),
        ]
    });
    aligned(&head, &body.collect::<Vec<_>>())
}

/// A Markdown table whose columns have the width of their widest cell; figures stand on the right.
fn aligned(head: &[String], body: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = body.iter().filter_map(|row| row.get(column));
        cells
            .chain(head.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).enumerate();
        let padded = padded.map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths
        .iter()
        .enumerate()
        .map(|(column, width)| match column {
            0 => format!("{}|", "-".repeat(width + 2)),
            _ => format!("{}:|", "-".repeat(width + 1)),
        });
    let mut text = line(head);
    text += &format!("|{}\n", rule.collect::<String>());
    for row in body {
        text += &line(row);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Row;

    #[test]
    fn columns_are_aligned_and_gaps_are_seen() {
        let table = Table {
            title: "CPU".into(),
            unit: "µs".into(),
            method: "In turns.".into(),
            columns: vec!["echo".into(), "ours".into()],
            rows: vec![Row {
                name: "A hit".into(),
                cells: vec![Spread::of(&[1.0]), None],
            }],
            goals: vec![Goal {
                what: "A hit: ours / echo".into(),
                measured: 1.2,
                at_most: 1.1,
                noise: 0.05,
            }],
        };
        let text = "\
## CPU

µs: minimum / median / maximum. In turns.

|       |               echo | ours |
|-------|-------------------:|-----:|
| A hit | 1.00 / 1.00 / 1.00 |    — |

![CPU](x.svg)

| goal               | measured | at most | spread |            |
|--------------------|---------:|--------:|-------:|-----------:|
| A hit: ours / echo |     1.20 |    1.10 |  ± 5 % | **missed** |
";
        assert_eq!(of(&table, "x.svg"), text);
    }
}
