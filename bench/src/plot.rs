//! A table as a picture: a bar per cell, as long as its median, with a whisker from minimum to maximum.

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{Table, figure};

const WIDTH: u32 = 960;
/// Room for the names of rows.
const LEFT: u32 = 230;
const TOP: i32 = 84;
const BOTTOM: u32 = 70;
const BAR: u32 = 17;
const GAP: u32 = 14;
/// From this ratio on, the short bars of a linear axis say nothing.
const LOGARITHMIC_FROM: f64 = 30.0;

/// Okabe and Ito's colours, which colour-blind people can tell apart.
const COLOURS: [RGBColor; 8] = [
    RGBColor(153, 153, 153),
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(240, 228, 66),
];

/// The picture as an SVG document.
pub fn svg(table: &Table) -> Result<String> {
    let height = TOP as u32 + BOTTOM + table.rows.len() as u32 * row_height(table);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        draw(table, &root).map_err(|error| anyhow!("plot of {:?}: {error}", table.title))?;
    }
    Ok(text)
}

fn row_height(table: &Table) -> u32 {
    table.columns.len() as u32 * BAR + GAP
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn draw(table: &Table, root: &Area<'_>) -> Drawn {
    root.fill(&WHITE)?;
    head(table, root)?;
    let cells = || table.rows.iter().flat_map(|row| row.cells.iter().flatten());
    let least = cells().map(|cell| cell.min).fold(f64::INFINITY, f64::min);
    let most = cells().map(|cell| cell.max).fold(0.0, f64::max);
    if !(least > 0.0 && most > 0.0) {
        // Nothing was measured, or nothing that has a length.
        return Ok(());
    }
    // Room for the figure behind the longest bar.
    if most / least > LOGARITHMIC_FROM {
        let from = least / 2.0;
        let to = most * (most / from).powf(0.12);
        chart(table, root, from, (from..to).log_scale(), " (logarithmic)")
    } else {
        chart(table, root, 0.0, 0.0..most * 1.12, "")
    }
}

/// Title and legend.
fn head(table: &Table, root: &Area<'_>) -> Drawn {
    let title = ("sans-serif", 20).into_font().color(&BLACK);
    root.draw_text(&table.title, &title, (16, 14))?;
    let mut x = 16;
    for (column, name) in table.columns.iter().enumerate() {
        let colour = COLOURS[column % COLOURS.len()];
        root.draw(&Rectangle::new([(x, 50), (x + 12, 62)], colour.filled()))?;
        root.draw_text(name, &label(), (x + 18, 50))?;
        // The width that the font is likely to have; SVG leaves it to whoever shows it.
        x += 40 + 7 * i32::try_from(name.chars().count())?;
    }
    Ok(())
}

fn label() -> TextStyle<'static> {
    ("sans-serif", 13).into_font().color(&BLACK)
}

fn chart<X>(table: &Table, root: &Area<'_>, from: f64, axis: X, note: &str) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(root)
        .margin_top(TOP)
        .margin_right(24)
        .x_label_area_size(BOTTOM - 14)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(axis, 0.0..table.rows.len() as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_labels(8)
        .x_label_formatter(&|value| format!("{value}"))
        .x_desc(format!("{}{note}", table.unit))
        .label_style(label())
        .axis_desc_style(label())
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    let right = label().pos(Pos::new(HPos::Right, VPos::Center));
    let left = ("sans-serif", 11)
        .into_font()
        .color(&BLACK)
        .pos(Pos::new(HPos::Left, VPos::Center));
    let share = f64::from(BAR) / f64::from(row_height(table));
    for (at, row) in table.rows.iter().enumerate() {
        // The axis goes up, rows go down.
        let top = (table.rows.len() - at) as f64 - f64::from(GAP) / 2.0 / f64::from(BAR) * share;
        let middle = top - share * table.columns.len() as f64 / 2.0;
        let (x, y) = chart.backend_coord(&(from, middle));
        root.draw_text(&row.name, &right, (x - 10, y))?;
        for (column, cell) in row.cells.iter().enumerate() {
            let Some(cell) = cell else { continue };
            let y = top - share * column as f64;
            let colour = COLOURS[column % COLOURS.len()];
            let (upper, middle, lower) = (y - share * 0.1, y - share * 0.5, y - share * 0.9);
            let bar = Rectangle::new([(from, upper), (cell.median, lower)], colour.filled());
            chart.draw_series([bar])?;
            let whisker = [(cell.min, middle), (cell.max, middle)];
            let whisker = PathElement::new(whisker, BLACK.mix(0.7).stroke_width(2));
            chart.draw_series([whisker])?;
            let (x, y) = chart.backend_coord(&(cell.max, middle));
            root.draw_text(&figure(cell.median), &left, (x + 5, y))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Row, Spread};

    fn table(cells: [Option<Spread>; 2]) -> Table {
        Table {
            title: "CPU".into(),
            unit: "µs of CPU per query".into(),
            method: String::new(),
            columns: vec!["UDP echo".into(), "lighthouse-dns".into()],
            rows: vec![Row {
                name: "A hit".into(),
                cells: cells.into(),
            }],
            goals: vec![],
        }
    }

    #[test]
    fn names_and_medians_are_there() -> Result<()> {
        let text = svg(&table([Spread::of(&[5.9]), Spread::of(&[6.88])]))?;
        for part in [
            "CPU",
            "A hit",
            "UDP echo",
            "lighthouse-dns",
            "6.88",
            "</svg>",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(!text.contains("logarithmic"));
        Ok(())
    }

    #[test]
    fn the_axis_is_logarithmic_only_where_bars_would_vanish() -> Result<()> {
        let text = svg(&table([Spread::of(&[1.0]), Spread::of(&[1000.0])]))?;
        assert!(text.contains("logarithmic"));
        Ok(())
    }

    #[test]
    fn a_table_without_figures_is_no_error() -> Result<()> {
        assert!(svg(&table([None, None]))?.contains("</svg>"));
        Ok(())
    }
}
