"""What is measured as files, row by row, in as much memory as a part of them takes."""
