//! Views: what a person sees of an answer.

use std::borrow::Cow;

use comfy_table::{Attribute, Color, ColumnConstraint, ContentArrangement, Table, presets};

use super::{Look, clean};

/// How a cell is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Warning,
    Bad,
    Faint,
}

impl Tone {
    const fn colour(self) -> Option<Color> {
        match self {
            Self::Plain => None,
            Self::Good => Some(Color::Green),
            Self::Warning => Some(Color::Yellow),
            Self::Bad => Some(Color::Red),
            Self::Faint => Some(Color::DarkGrey),
        }
    }
}

/// A text with its tone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: clean(text.as_ref()), tone }
    }

    /// What is not there.
    pub(crate) fn none() -> Self {
        Self::new("-", Tone::Faint)
    }

    /// The text, or what stands for nothing.
    pub(crate) fn or_none(text: Option<impl AsRef<str>>) -> Self {
        text.filter(|text| !text.as_ref().is_empty())
            .map_or_else(Self::none, |text| Self::new(text, Tone::Plain))
    }

    fn styled(&self, look: &Look) -> comfy_table::Cell {
        let cell = comfy_table::Cell::new(&self.text);
        match self.tone.colour().filter(|_| look.colour) {
            Some(colour) => cell.fg(colour),
            None => cell,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Rows under a header.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    header: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
    empty: Cow<'static, str>,
    spare: &'static [&'static str],
}

/// Columns that are copied from or read at a glance: they are never wrapped.
const WHOLE: [&str; 6] = ["JOB", "TOKEN", "ATTACHMENT", "SNAPSHOT", "KIND", "STATE"];
/// Every other column may be wrapped down to this.
const WRAPPED: usize = 20;
/// Where a column would have to be narrower than this, the rows are written as records.
const NARROWEST: usize = 8;
const GAP: usize = 2;

impl Grid {
    /// `empty` is said when there are no rows: what to do to have some.
    pub(crate) fn new(header: &'static [&'static str], empty: impl Into<Cow<'static, str>>) -> Self {
        Self { header, rows: Vec::new(), empty: empty.into(), spare: &[] }
    }

    /// Names columns that a narrow terminal can do without, the least needed first.
    pub(crate) fn sparing(mut self, spare: &'static [&'static str]) -> Self {
        self.spare = spare;
        self
    }

    pub(crate) fn rows(mut self, rows: impl IntoIterator<Item = Vec<Cell>>) -> View {
        self.rows.extend(rows);
        View::Grid(self)
    }

    fn render(&self, look: &Look) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", clean(&self.empty));
        }
        let columns = self.columns(look);
        if self.is_too_wide(&columns, look) {
            return self.records(look);
        }
        let mut table = bare(look);
        table.set_header(columns.iter().map(|column| {
            let cell = comfy_table::Cell::new(self.header[*column]);
            if look.colour { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        for row in &self.rows {
            table.add_row(columns.iter().filter_map(|column| Some(row.get(*column)?.styled(look))));
        }
        for (place, column) in columns.iter().enumerate() {
            if WHOLE.contains(&self.header[*column])
                && let Some(column) = table.column_mut(place)
            {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let mut text = finished(&mut table);
        let left_out: Vec<&str> = (0..self.header.len())
            .filter(|column| !columns.contains(column))
            .map(|column| self.header[column])
            .collect();
        if !left_out.is_empty() {
            text.push_str(&format!("\nNo room for {}: a wider terminal shows more\n", left_out.join(", ")));
        }
        text
    }

    /// Whether a column would be narrower than words are.
    fn is_too_wide(&self, columns: &[usize], look: &Look) -> bool {
        let least: usize = columns.iter().map(|column| self.needed(*column, NARROWEST) + GAP).sum();
        look.width.is_some_and(|width| least > usize::from(width))
    }

    /// Each row on lines of its own, with nothing left out.
    fn records(&self, look: &Look) -> String {
        let record = |row: &Vec<Cell>| {
            let lines = self.header.iter().copied().zip(row.iter().cloned());
            card(&lines.filter(|(_, cell)| !cell.text.is_empty()).collect::<Vec<_>>(), look)
        };
        self.rows.iter().map(record).collect::<Vec<_>>().join("\n")
    }

    /// The columns that are shown: without the spare ones that do not fit.
    fn columns(&self, look: &Look) -> Vec<usize> {
        let mut columns: Vec<usize> = (0..self.header.len()).collect();
        let Some(width) = look.width else { return columns };
        for spare in self.spare {
            let needed: usize = columns.iter().map(|column| self.needed(*column, WRAPPED) + GAP).sum();
            if needed <= usize::from(width) {
                break;
            }
            columns.retain(|column| self.header[*column] != *spare);
        }
        columns
    }

    /// The width of a column that may be wrapped down to `wrapped`.
    fn needed(&self, column: usize, wrapped: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| Some(row.get(column)?.text.chars().count()));
        let title = self.header[column];
        let longest = cells.max().unwrap_or(0).max(title.len());
        if WHOLE.contains(&title) { longest } else { longest.min(wrapped) }
    }
}

/// What a person sees.
#[derive(Debug, Clone)]
pub(crate) enum View {
    /// Many things.
    Grid(Grid),
    /// One thing: labels and what stands behind them.
    Card(Vec<(&'static str, Cell)>),
    /// Plain words.
    Text(String),
    /// One below the other, with an empty line between.
    Stack(Vec<View>),
}

impl View {
    /// The text with a line end, without trailing blanks.
    pub(crate) fn render(&self, look: &Look) -> String {
        match self {
            Self::Grid(grid) => grid.render(look),
            Self::Card(lines) => card(lines, look),
            Self::Text(text) if text.is_empty() => String::new(),
            Self::Text(text) => format!("{}\n", text.lines().map(clean).collect::<Vec<_>>().join("\n")),
            Self::Stack(views) => {
                let parts: Vec<String> = views.iter().map(|view| view.render(look)).collect();
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

fn card(lines: &[(&'static str, Cell)], look: &Look) -> String {
    let mut table = bare(look);
    for (label, cell) in lines {
        let label = comfy_table::Cell::new(label);
        let label = if look.colour { label.add_attribute(Attribute::Bold) } else { label };
        table.add_row([label, cell.styled(look)]);
    }
    finished(&mut table)
}

fn bare(look: &Look) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.force_no_tty();
    if look.colour {
        table.enforce_styling();
    }
    match look.width {
        Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table
}

fn finished(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixed_look;
    use super::*;

    fn grid() -> View {
        let row = |name: &str, tone| vec![Cell::from(name), Cell::new("state", tone), Cell::none()];
        Grid::new(&["NAME", "STATE", "WHEN"], "nothing here")
            .rows([row("web\u{1b}[2J\n1", Tone::Bad), row("🦀 database with a long name", Tone::Good)])
    }

    #[test]
    fn a_table_without_a_terminal_has_no_colour_and_one_line_a_row() {
        insta::assert_snapshot!(grid().render(&fixed_look()));
    }

    #[test]
    fn a_narrow_terminal_wraps_instead_of_running_over() {
        let look = Look { width: Some(30), ..fixed_look() };
        let text = grid().render(&look);
        insta::assert_snapshot!(text);
        assert!(text.lines().all(|line| line.chars().count() <= 30));
    }

    #[test]
    fn a_terminal_too_narrow_for_the_columns_gets_a_record_a_row() {
        let render = |width| grid().render(&Look { width: Some(width), ..fixed_look() });
        assert!(render(23).starts_with("NAME"), "{}", render(23));
        assert!(!render(23).contains("\nSTATE"), "{}", render(23));
        insta::assert_snapshot!(render(22));
    }

    #[test]
    fn colour_is_written_only_where_it_is_welcome() {
        assert!(grid().render(&Look { colour: true, ..fixed_look() }).contains("\u{1b}["));
        assert!(!grid().render(&fixed_look()).contains('\u{1b}'));
    }

    #[test]
    fn an_empty_table_says_what_to_do() {
        let view = Grid::new(&["NAME"], "no hosts yet").rows([]);
        assert_eq!(view.render(&fixed_look()), "no hosts yet\n");
    }
}
