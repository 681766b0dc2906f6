//! Column alignment as docker's tables have it (Go's tabwriter: cells at least 10 wide, 3 spaces
//! between columns, the last cell of a line left as it is).

const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Aligns lines whose cells are separated by tabs. All lines have the same number of cells.
pub fn align(lines: &[String]) -> String {
    let rows: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.split('\t').collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter(|row| column + 1 < row.len());
            let widest = cells.map(|row| row[column].chars().count() + PADDING).max();
            widest.unwrap_or(0).max(MIN_WIDTH)
        })
        .collect();
    let mut out = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == row.len() {
                out.push_str(cell);
            } else {
                out.push_str(&format!("{cell:<width$}", width = widths[column]));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_last_is_not_padded() {
        let lines = [
            "ID\tNAME\tPORTS",
            "0123456789ab\ta\t",
            "x\tlonger-name\t*:80->80/tcp",
        ];
        assert_eq!(
            align(&lines.map(str::to_owned)),
            "ID             NAME          PORTS\n\
             0123456789ab   a             \n\
             x              longer-name   *:80->80/tcp\n"
        );
    }
}
