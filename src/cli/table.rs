//! Rows under headings, as narrow as a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns between two cells.
const GAP: usize = 2;
/// A cell is not made narrower than this.
const CELL_COLUMNS_MIN: usize = 8;

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// What of a cell is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The end of a path is what tells it from others.
    Beginning,
    /// Ids are known by their beginning or by their end.
    Middle,
}

/// A column.
pub(super) struct Column {
    pub(super) heading: &'static str,
    pub(super) side: Side,
    /// Where its cells are cut when the table is too wide; None when they are not.
    pub(super) cut: Option<Cut>,
}

impl Column {
    pub(super) const fn left(heading: &'static str) -> Self {
        Self {
            heading,
            side: Side::Left,
            cut: None,
        }
    }

    pub(super) const fn right(heading: &'static str) -> Self {
        Self {
            heading,
            side: Side::Right,
            cut: None,
        }
    }

    pub(super) const fn cut(self, cut: Cut) -> Self {
        Self { cut: Some(cut), ..self }
    }
}

/// Renders a table; no line of it is wider than `columns_max`, unless the cells that do not give way are.
pub(super) fn render<const N: usize>(columns: &[Column; N], rows: &[[String; N]], columns_max: usize) -> String {
    let mut widths = columns.each_ref().map(|column| column.heading.width());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    let total: usize = widths.iter().sum::<usize>() + GAP * (N - 1);
    let mut over = total.saturating_sub(columns_max);
    // The widest one that gives way is cut first.
    while over > 0 {
        let widest = (0..N)
            .filter(|&at| columns[at].cut.is_some() && widths[at] > CELL_COLUMNS_MIN)
            .max_by_key(|&at| widths[at]);
        let Some(at) = widest else { break };
        widths[at] -= 1;
        over -= 1;
    }
    let headings = columns.each_ref().map(|column| column.heading.to_owned());
    let lines = std::iter::once(&headings).chain(rows);
    lines.map(|row| line(columns, &widths, row)).collect()
}

fn line<const N: usize>(columns: &[Column; N], widths: &[usize; N], row: &[String; N]) -> String {
    let mut out = String::new();
    for at in 0..N {
        let cell = cut(&row[at], widths[at], columns[at].cut.unwrap_or(Cut::Beginning));
        let padding = " ".repeat(widths[at].saturating_sub(cell.width()));
        match columns[at].side {
            Side::Left => out.extend([cell.as_str(), &padding]),
            Side::Right => out.extend([padding.as_str(), &cell]),
        }
        if at + 1 < N {
            out.push_str(&" ".repeat(GAP));
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// A text that fits.
fn cut(text: &str, columns_max: usize, cut: Cut) -> String {
    if text.width() <= columns_max {
        return text.to_owned();
    }
    let columns = columns_max.saturating_sub(1);
    let at_start = match cut {
        Cut::Beginning => 0,
        Cut::Middle => columns / 2,
    };
    let start: String = fitting(text.chars(), at_start).collect();
    let end: Vec<char> = fitting(text.chars().rev(), columns - at_start).collect();
    format!("{start}…{}", end.into_iter().rev().collect::<String>())
}

/// As many of the characters as fit.
fn fitting(characters: impl Iterator<Item = char>, columns_max: usize) -> impl Iterator<Item = char> {
    let mut columns = 0;
    characters.take_while(move |character| {
        columns += character.width().unwrap_or(0);
        columns <= columns_max
    })
}

/// How wide standard output is; 80 columns where it is no terminal.
pub(super) fn columns_max() -> usize {
    let size = terminal_size::terminal_size_of(std::io::stdout());
    size.map_or(80, |(width, _)| usize::from(width.0))
}

/// How wide standard error is, if it is a terminal.
pub(super) fn stderr_columns() -> Option<usize> {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    size.map(|(width, _)| usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_cut_in_its_middle() {
        assert_eq!(cut("c20e028f-d1d2-529ea", 12, Cut::Middle), "c20e0…-529ea");
        assert_eq!(cut("c20e028f", 8, Cut::Middle), "c20e028f");
    }

    #[test]
    fn the_widest_cells_that_give_way_are_cut_at_their_beginning() {
        let columns = [
            Column::left("A"),
            Column::left("NAME").cut(Cut::Beginning),
            Column::right("N"),
        ];
        let rows = [
            ["claude".into(), "/home/me/projects/日本語".into(), "12".into()],
            ["x".into(), "short".into(), "345".into()],
        ];
        assert_eq!(
            render(&columns, &rows, 30),
            "A       NAME                 N\n\
             claude  …/projects/日本語   12\n\
             x       short              345\n"
        );
        let narrow = render(&columns, &rows, 10);
        assert!(narrow.contains("…"), "{narrow}");
        assert!(narrow.lines().all(|line| line.width() <= 6 + 8 + 3 + 4), "{narrow}");
    }
}
